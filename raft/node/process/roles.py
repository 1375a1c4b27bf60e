"""What the owner of a key may ask for: the roles in the list of allowed keys.

Owns which requests each role may make, the check of the list, and the refusal. Only keys of lesser roles cost
anything: members and operators are not looked at. Knows nothing of how a key is proven.
"""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from actors.transport.curve import Grant, Keys, KeysError
from raft.machines.codec import decode_call, decode_question
from raft.machines.commands import Downgrade
from raft.machines.scope import outside
from raft.protocol.admin import (
    ArmCrash,
    ClearFault,
    GetMetrics,
    GetStatus,
    Measure,
    SetClock,
    SetDisk,
    SetLink,
    TakeSnapshot,
    Transfer,
)
from raft.protocol.client import (
    AddLearner,
    AwaitAnswer,
    AwaitEvents,
    CloseWatch,
    Command,
    Invalid,
    KeepAlive,
    ListMembers,
    OpenWatch,
    Promote,
    Query,
    ReadBackup,
    Remove,
    Replace,
    TakeBackup,
    TimeLeft,
    UpdateMember,
    WatchAck,
    WhoLeads,
)
from raft.protocol.records import GetRecords
from raft.protocol.registry import node_of

Judge = Callable[[object], Invalid | None]
"""The answer to a request that its asker may not make; None for one that it may."""

NAMED_AGAIN_SECONDS: Final = 60.0
PROCESSES_MAX: Final = 4096


class Role(enum.StrEnum):
    """What a key is for; each may do what those below it may."""

    MEMBER = "member"  # Of the cluster: it votes, replicates and passes requests on.
    OPERATOR = "operator"  # Members, leadership, snapshots, backups.
    CLIENT = "client"
    READER = "reader"


READS: Final = frozenset(
    (
        Query,
        WhoLeads,
        AwaitAnswer,
        AwaitEvents,
        OpenWatch,
        WatchAck,
        CloseWatch,
        TimeLeft,
        ListMembers,
        GetStatus,
        GetMetrics,
        GetRecords,
    )
)
WRITES: Final = frozenset((Command, KeepAlive))
_QUESTIONS: Final = (Query, AwaitEvents, OpenWatch)
_OF_AN_OPERATOR: Final[dict[type, str]] = {
    **dict.fromkeys((AddLearner, Promote, Remove, Replace, UpdateMember), "change the members"),
    **dict.fromkeys((TakeBackup, ReadBackup), "take a backup"),
    **dict.fromkeys((SetLink, SetDisk, SetClock, ArmCrash, ClearFault), "break a node on purpose"),
    Transfer: "move leadership",
    TakeSnapshot: "order a snapshot",
    Measure: "measure round trips",
}
_NEEDS_OPERATOR: Final = "that needs the role operator"


def role_of(name: str, grant: Grant) -> Role:
    """The role of a name in the list. Raises KeysError for one that it cannot have.

    Where the list says nothing, the names of nodes are members, and all others operators, as they were before
    there were roles.
    """
    try:
        role = Role(grant.role) if grant.role else (Role.MEMBER if node_of(name) else Role.OPERATOR)
    except ValueError:
        raise KeysError(f"there is no role {grant.role!r}, as {name} has it: {', '.join(Role)}") from None
    if (role is Role.MEMBER) != bool(node_of(name)):
        raise KeysError(
            f"members are called n1, n2 and so on, and no other process: {name} cannot be a {role.value}"
        )
    if grant.below and role not in (Role.CLIENT, Role.READER):
        raise KeysError(f"only a client or a reader is bound to a prefix: {name} is a {role.value}")
    return role


def check_roles(keys: Keys) -> Keys:
    """Return the keys, or raise KeysError for the first role in the list that cannot be."""
    for name, grant in keys.grants.items():
        role_of(name, grant)
    return keys


class Permissions(dict[str, Judge | None]):
    """By process, who judges what it asks for; None for those who may ask for anything.

    `tell` logs an event: who was refused what, once in a while. `refused` counts, and names the key.
    """

    def __init__(self, keys: Keys | None, tell: Callable[[str, str], None], supervisor: str = "") -> None:
        """Without keys nothing is checked, nor is a supervisor that has none."""
        super().__init__()
        self.refused: Counter[str] = Counter()
        self.known_keys = keys
        self._tell = tell
        self._supervisor = supervisor
        self._named: dict[tuple[str, str], float] = {}

    def follow(self, keys: Keys) -> None:
        """The list has changed."""
        self.known_keys = keys
        self.clear()

    def __missing__(self, process: str) -> Judge | None:
        if len(self) >= PROCESSES_MAX:
            self.clear()
        judge = self[process] = self._judge_of(process)
        return judge

    def _judge_of(self, process: str) -> Judge | None:
        if self.known_keys is None or process == self._supervisor:
            return None
        name = process if process in self.known_keys.allowed else process.rpartition(".")[0]
        if name not in self.known_keys.allowed:  # What it had sent before it was cut off.
            return lambda _: Invalid(f"{process} has no key that is allowed", not_allowed=True)
        grant = self.known_keys.grants.get(name, Grant())
        role = role_of(name, grant)
        if role in (Role.MEMBER, Role.OPERATOR):
            return None

        def judge(request: object) -> Invalid | None:
            why = why_not(request, role, grant.below)
            return Invalid(self._note(name, role, request, why), not_allowed=True) if why else None

        return judge

    def _note(self, name: str, role: Role, request: object, why: str) -> str:
        self.refused[f"not allowed to {name}"] += 1
        kind = type(request).__name__
        text = f"the key of {name} has the role {role.value}, which {why}"
        now = time.monotonic()
        if now >= self._named.get((name, kind), 0.0):
            if len(self._named) >= PROCESSES_MAX:
                self._named.clear()
            self._named[name, kind] = now + NAMED_AGAIN_SECONDS
            self._tell("not-allowed", f"{kind} refused: {text}")
        return text


def why_not(request: object, role: Role, below: str) -> str:
    """What a client or a reader lacks for a request, in words; "" if nothing."""
    kind = type(request)
    if kind in WRITES and role is Role.READER:
        return f"may only read: to write needs the role {Role.CLIENT.value}"
    if kind not in READS and kind not in WRITES:
        what = _OF_AN_OPERATOR.get(kind)
        if what is None:
            return f"may not send {kind.__name__}: that needs the role {Role.MEMBER.value}"
        return f"may not {what}: {_NEEDS_OPERATOR}"
    if isinstance(request, Command):
        call = decode_call(request.body)
        if call is not None and isinstance(call.operation, Downgrade):
            return f"may not lower the version of the cluster's machine: {_NEEDS_OPERATOR}"
        if below:
            return _beyond(None if call is None else call.operation, below)
    if below and isinstance(request, GetRecords) and request.log:
        return f"is bound to what is below {below!r}: not the node's log"
    if below and isinstance(request, _QUESTIONS):
        return _beyond(decode_question(request.body), below)
    return ""


def _beyond(request: object, below: str) -> str:
    what = "a request that cannot be read" if request is None else outside(request, below)
    return f"is bound to what is below {below!r}: not {what}" if what else ""
