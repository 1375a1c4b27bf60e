"""Which versions of the user's own machine the members have, and the version on which they agree.

Owns the leader's proposals of that, the refusal of commands that are newer, and the refusal of a start with
code that is older. Knows nothing of how the cluster's version follows from the log: see
`raft.machines.agreement`.
"""

from __future__ import annotations

from collections.abc import Callable

from raft.core.errors import ProposalDropped
from raft.core.raft import Raft
from raft.core.types import NO_LIMIT, NodeId, Role, Storage
from raft.machines.agreement import SINCE_LEVEL, level_too_low, too_old
from raft.machines.application import Application
from raft.machines.codec import decode_call, encode_nodes_own, is_nodes_own
from raft.machines.commands import Agree, Own
from raft.machines.machine import WrongVersion
from raft.machines.state import agreement_in
from raft.node.members.handshakes import Handshakes
from raft.node.members.peers import Peers
from raft.node.reporter import Journal
from raft.node.snapshots.contents import unpack_state
from raft.protocol.client import Refused, TooNew

LOOK_SECONDS = 0.5


class Versions:
    """The versions of the members, as this node knows them."""

    def __init__(
        self,
        machine: Application,
        raft: Raft,
        peers: Peers,
        handshakes: Handshakes,
        journal: Journal,
        want_snapshot: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._raft = raft
        self._peers = peers
        self._handshakes = handshakes
        self._journal = journal
        self._want_snapshot = want_snapshot
        self.agreement = machine.agreement
        self.agreed = machine.agreement.version
        """The cluster's version, as of the last look."""
        self.look_at = 0.0
        """When to check again, if the machine's `agreement` doesn't change before."""

    def refuse(self, operation: Own) -> TooNew | Refused:
        """The refusal of a command that is newer than `agreed`."""
        agreed = self.agreed
        behind = [
            f"node {node} at {self._endpoint(node)} {'is of version' if version else 'is not up'}"
            + (f" {version}" if version else "")
            for node, version in self._members().items()
            if version is None or version < operation.since
        ]
        needs = f"the command needs version {operation.since} of the machine, and the cluster's is {agreed}"
        ceiling = self._machine.agreement.ceiling
        if ceiling:
            behind.append(f"a downgrade to version {ceiling} is under way")
        if not behind:
            return Refused(f"{needs}; all members have it, and are about to agree")
        return TooNew(operation.since, agreed, f"{needs}: {'; '.join(behind)}. Upgrade first, then retry")

    def refuse_level(self, operation: object) -> Refused | None:
        """The refusal of a built-in command that not all members know."""
        needed, agreed = SINCE_LEVEL.get(type(operation), 1), self._machine.agreement.level
        if needed <= agreed:
            return None
        behind = [
            f"node {node} at {self._endpoint(node)}"
            for node in sorted(self._raft.tracker.progress)
            if (self._handshakes.level_of(node) or 0) < needed
        ]
        who = f"{', '.join(behind)} may not: upgrade first" if behind else "all do, and are about to agree"
        name = type(operation).__name__
        return Refused(f"{name} is for clusters whose members all know it (level {needed}); {who}")

    def check(self, now: float) -> None:
        """Notice what has been agreed; as leader, propose what the members can agree on."""
        self.agreement = self._machine.agreement
        if self.agreement.version != self.agreed:
            self._changed()
        if self._machine.own.trouble:
            trouble, self._machine.own.trouble = self._machine.own.trouble, ""
            self._journal.event("machine-raised", f"the machine's {trouble}; it goes on as it is")
        if now >= self.look_at:
            self.look_at = now + LOOK_SECONDS
            if self._raft.role is Role.LEADER:
                self._propose()

    def _propose(self) -> None:
        versions = [version for version in self._members().values() if version is not None]
        if len(versions) < len(self._raft.tracker.progress):
            return  # The version of a member that is down is unknown: it may change before it returns.
        levels = [self._handshakes.level_of(node) or 1 for node in self._raft.tracker.progress]
        agree = self._machine.agreement.next(min(versions), max(versions), min(levels))
        if agree is None:
            return
        try:
            self._raft.propose_batch([encode_nodes_own(agree)])
        except ProposalDropped:
            return  # It looks again.

    def _changed(self) -> None:
        before, self.agreed = self.agreed, self.agreement.version
        text = f"the cluster's version of the machine is {self.agreed}, and was {before}"
        self._journal.event("cluster-version", text, version=self.agreed)
        if self.agreed < before:
            self._want_snapshot()  # Older code cannot go through what is before it in the log.

    def _members(self) -> dict[NodeId, int | None]:
        return {node: self._handshakes.version_of(node) for node in sorted(self._raft.tracker.progress)}

    def _endpoint(self, node: NodeId) -> str:
        return self._peers.endpoints.get(node, "?")


def check_version(store: Storage, machine: Application) -> None:
    """Raise WrongVersion, before anything is done with them, if these data need a newer machine."""
    version, snapshot = machine.own.version, store.snapshot()
    agreement = agreement_in(unpack_state(snapshot.data).machine)
    agreed, level = agreement.version, agreement.level
    first, committed = max(store.first_index(), snapshot.index + 1), store.initial_state()[0].commit
    for entry in store.entries(first, committed + 1, NO_LIMIT) if first <= committed else ():
        data = bytes(entry.data or b"")
        if is_nodes_own(data):
            call = decode_call(data)
            if call is not None and isinstance(call.operation, Agree):
                agreed = max(agreed, call.operation.lowest)
                level = max(level, call.operation.level)
    if version < agreed:
        raise WrongVersion(too_old(agreed, version))
    if machine.level < level:
        raise WrongVersion(level_too_low(level, machine.level))
