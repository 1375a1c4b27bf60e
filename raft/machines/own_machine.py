"""The user's own machine as the application has it: apart from everything else, one errand after another.

Owns the machine, the answers that sessions may still ask it for, and the checksum of its answers. The
application hands it errands in the order of the log and goes on without their results: so they may be run
later, and on another thread, and the state is still a function of the log. Knows nothing of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from raft.machines.codec import encode_answer
from raft.machines.commands import SESSION_BYTES_MAX
from raft.machines.machine import (
    COMMAND_ERRORS,
    GROUND_ERRORS,
    InParts,
    MachineError,
    StateMachine,
    Versioned,
    WrongVersion,
    reason_of,
    sendable,
    version_of,
)
from raft.machines.results import AnswersFull, Done, Refused, TooNew
from raft.machines.sessions import Kept, Sessions
from raft.machines.state import OwnMachineSnapshot, own_book_of, own_parts_of
from raft.machines.trail import LastCheck, Trail


class Carry(Struct, frozen=True, gc=False):
    """Carry a command out, unless its session has had that done before; answered in bytes."""

    index: int
    body: bytes
    session: int = 0  # 0: none.
    sequence: int = 0
    acknowledged: int = 0
    since: int = 1


class Drop(Struct, frozen=True, gc=False):
    """These sessions have ended: their answers are not asked for again."""

    sessions: tuple[int, ...]


class Compare(Struct, frozen=True, gc=False):
    """The check at `index`, and what the stretch `of` the leader's own machine was; see `Trail`."""

    index: int
    of: LastCheck | None


class Become(Struct, frozen=True, gc=False):
    """From here on the cluster's version is this one."""

    version: int


Task: TypeAlias = Carry | Drop | Compare | Become


class OwnMachine:
    """The machine, or None, and what hangs on it. Everything here belongs to one thread at a time."""

    def __init__(self, machine: StateMachine | None) -> None:
        self.machine = machine
        self.version = version_of(machine)
        """Of the machine's code."""
        self.trouble = ""
        """What the machine raised when it was told the cluster's version last."""
        self.begin()

    def begin(self) -> None:
        """Forget everything but the machine itself, whose state is the caller's affair."""
        self.trail = Trail(self.version)
        self._sessions = Sessions()
        self._machine_bytes = 0
        self._cluster_version_is(1)

    @property
    def size_bytes(self) -> int:
        """The last snapshot, the commands since, and the answers that are kept: about what it holds."""
        return self._machine_bytes + self._sessions.size_bytes

    def run(self, task: Task) -> bytes | None:
        """Do one errand; the encoded answer of a `Carry`, None for the others. Raises Diverged."""
        if isinstance(task, Carry):
            return self.trail.add(self._carry(task))
        if isinstance(task, Drop):
            self._sessions.drop(task.sessions)
        elif isinstance(task, Compare):
            self.trail.check(task.index, task.of, " of your own machine")
        else:
            self._cluster_version_is(task.version)
        return None

    def query(self, body: bytes) -> bytes:
        """The encoded answer to a query."""
        machine = self.machine
        try:
            return encode_answer(_ask(None if machine is None else lambda: machine.query(body)))
        except GROUND_ERRORS as error:
            # A query changes nothing, so that it is the asker's matter alone that it cannot be answered.
            return encode_answer(Refused(f"the machine raised {type(error).__name__}"))

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> bytes | None:
        """The machine's whole state, None without one."""
        return None if self.machine is None else self.machine.snapshot()

    def book(self) -> OwnMachineSnapshot:
        """All but the machine's state."""
        trail = self.trail
        sessions = self._sessions.snapshot()
        return OwnMachineSnapshot(trail.checksum, trail.last, sessions, self._cluster_version, trail.version)

    def restore(self, state: bytes | None, book: OwnMachineSnapshot) -> None:
        """Become what `snapshot` and `book` gave."""
        self._become(book)
        if self.machine is not None:
            self.machine.restore(state or b"")

    def parts(self) -> Iterator[bytes]:
        """The state of this moment in parts, to be drawn later, if the machine offers that, on any thread."""
        machine = self.machine
        of_machine: Iterator[bytes] = iter(())
        if isinstance(machine, InParts):
            of_machine = machine.snapshot_parts()
        elif machine is not None:
            of_machine = iter((machine.snapshot(),))
        return own_parts_of(self.book(), self._measured(of_machine))

    def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """Become what `parts` gave; none are the empty state. WrongVersion if the machine can't read them."""
        book, of_machine = own_book_of(parts)
        machine = self.machine
        self._become(book)
        self._machine_bytes = sum(map(len, of_machine))
        try:
            if isinstance(machine, InParts):
                # Copies: a machine may keep what it is given, and these are views of a file.
                machine.restore_parts(map(bytes, of_machine))
            elif machine is not None:
                machine.restore(b"".join(of_machine))
        except COMMAND_ERRORS as error:
            raise WrongVersion(
                f"your own machine, version {self.version}, cannot read its snapshot, which was made while "
                f"the cluster's version was {book.cluster_version}: {reason_of(error)}. Nothing was "
                "changed: start the node with a version that can"
            ) from error

    # -------------------------------------------------------------------------------------------

    def _measured(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        before, size = self._machine_bytes, 0
        for part in parts:
            size += len(part)
            yield part
        self._machine_bytes += size - before

    def _become(self, book: OwnMachineSnapshot) -> None:
        self.trail.restore(book.trail, book.version, book.last_check)
        self._sessions.restore(book.sessions)
        self._cluster_version_is(book.cluster_version)

    def _cluster_version_is(self, version: int) -> None:
        self._cluster_version = version
        machine = self.machine
        if not isinstance(machine, Versioned):
            return
        try:
            machine.cluster_version_is(version)
        except GROUND_ERRORS:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's, and it would stop all nodes
            kind, text = type(error).__name__, sendable(error)
            self.trouble = f"cluster_version_is({version}) raised {kind}: {text}"

    def _carry(self, task: Carry) -> bytes:
        if not task.session:
            return self._apply(task)
        session = self._sessions.of(task.session)
        kept = session.kept.get(task.sequence)
        if kept is not None:
            return kept.answer
        if task.since > self._cluster_version:
            return self._apply(task)  # Not kept: the same command is carried out once it is old enough.
        self._sessions.forget(session, task.acknowledged)
        if session.kept_bytes > SESSION_BYTES_MAX and task.sequence > session.acknowledged + 1:
            return encode_answer(AnswersFull(session.acknowledged, session.kept_bytes))
        answer = self._apply(task)
        self._sessions.remember(session, task.sequence, Kept(0, answer))
        return answer

    def _apply(self, task: Carry) -> bytes:
        machine = self.machine
        if task.since > self._cluster_version:
            return encode_answer(TooNew(task.since, self._cluster_version))
        self._machine_bytes += len(task.body)
        ask = None if machine is None else partial(machine.apply, task.index, task.body)
        return encode_answer(_ask(ask))


def _ask(ask: Callable[[], bytes] | None) -> Done | Refused:
    if ask is None:
        return Refused("this cluster has no machine of the user's own")
    try:
        result = ask()
    except MachineError as error:
        return Refused(sendable(error))
    except GROUND_ERRORS:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the code is the user's, and may raise anything
        # Its text may hold an object's address, and the answer is part of the state of all replicas.
        return Refused(f"the machine raised {type(error).__name__}")
    if not isinstance(result, bytes):
        return Refused(f"the machine answered with {type(result).__name__}, not with bytes")
    return Done(result)
