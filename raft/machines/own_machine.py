"""The user's own machine inside the application: separate from the other parts, one task after another.

Owns the machine, the answers that sessions may still ask it for, and the checksum of its answers. The
application queues tasks in the order of the log and doesn't wait for their results. So they can run later,
and on another thread, and the state is still a function of the log. Knows nothing of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from raft.machines.answer_checksum import AnswerChecksum, LastCheck
from raft.machines.codec import encode_answer
from raft.machines.commands import SESSION_BYTES_MAX
from raft.machines.machine import (
    COMMAND_ERRORS,
    ENVIRONMENT_ERRORS,
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
from raft.machines.state import OwnMachineSnapshot, own_metadata_of, own_parts_of


class ApplyTask(Struct, frozen=True, gc=False):
    """Apply a command, unless its session has done so before; answered in bytes."""

    index: int
    body: bytes
    session: int = 0  # 0: none.
    sequence: int = 0
    acknowledged: int = 0
    since: int = 1


class ForgetSessionsTask(Struct, frozen=True, gc=False):
    """Forget the answers kept for sessions that have ended."""

    sessions: tuple[int, ...]


class CompareTask(Struct, frozen=True, gc=False):
    """Compare with the leader: the check at `index`, and `of`, the leader's last check before it."""

    index: int
    of: LastCheck | None


class SetVersionTask(Struct, frozen=True, gc=False):
    """Set the cluster's version."""

    version: int


Task: TypeAlias = ApplyTask | ForgetSessionsTask | CompareTask | SetVersionTask


class OwnMachine:
    """The machine, or None, and its bookkeeping. Only one thread at a time may use it."""

    def __init__(self, machine: StateMachine | None) -> None:
        self.machine = machine
        self.version = version_of(machine)
        """Of the machine's code."""
        self.trouble = ""
        """The error of the last call of `cluster_version_is`, if it raised one."""
        self.begin()

    def begin(self) -> None:
        """Reset everything but the machine itself, whose state the caller resets."""
        self.answer_checksum = AnswerChecksum(self.version)
        self._sessions = Sessions()
        self.machine_bytes = 0
        self._cluster_version_is(1)

    @property
    def size_bytes(self) -> int:
        """The approximate size: the last snapshot, the commands since, and the kept answers."""
        return self.machine_bytes + self._sessions.size_bytes

    def run(self, task: Task) -> bytes | None:
        """Run one task; returns the encoded answer of an `ApplyTask`, None for others. Raises Diverged."""
        if isinstance(task, ApplyTask):
            return self.answer_checksum.add(self._apply_once(task))
        if isinstance(task, ForgetSessionsTask):
            self._sessions.drop(task.sessions)
        elif isinstance(task, CompareTask):
            self.answer_checksum.check(task.index, task.of, " of your own machine")
        else:
            self._cluster_version_is(task.version)
        return None

    def query(self, body: bytes) -> bytes:
        """The encoded answer to a query."""
        machine = self.machine
        try:
            return encode_answer(_ask(None if machine is None else lambda: machine.query(body)))
        except ENVIRONMENT_ERRORS as error:
            # A query changes nothing, so a failure concerns only its caller.
            return encode_answer(Refused(f"the machine raised {type(error).__name__}"))

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> bytes | None:
        """The machine's whole state, None without one."""
        return None if self.machine is None else self.machine.snapshot()

    def own_metadata(self) -> OwnMachineSnapshot:
        """All but the machine's state."""
        answer_checksum = self.answer_checksum
        sessions = self._sessions.snapshot()
        return OwnMachineSnapshot(
            answer_checksum.value,
            answer_checksum.last,
            sessions,
            self._cluster_version,
            answer_checksum.version,
        )

    def restore(self, state: bytes | None, own_metadata: OwnMachineSnapshot) -> None:
        """Restore what `snapshot` and `own_metadata` returned."""
        self._take_over(own_metadata)
        if self.machine is not None:
            self.machine.restore(state or b"")

    def parts(self) -> Iterator[bytes]:
        """The current state in parts; read later on any thread, if the machine supports that."""
        machine = self.machine
        of_machine: Iterator[bytes] = iter(())
        if isinstance(machine, InParts):
            of_machine = machine.snapshot_parts()
        elif machine is not None:
            of_machine = iter((machine.snapshot(),))
        return own_parts_of(self.own_metadata(), self._measured(of_machine))

    def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """Restore what `parts` returned; no parts are the empty state. WrongVersion if unreadable."""
        own_metadata, of_machine = own_metadata_of(parts)
        machine = self.machine
        self._take_over(own_metadata)
        self.machine_bytes = sum(map(len, of_machine))
        try:
            if isinstance(machine, InParts):
                # Copies: a machine may keep what it is given, and these are views of a file.
                machine.restore_parts(map(bytes, of_machine))
            elif machine is not None:
                machine.restore(b"".join(of_machine))
        except COMMAND_ERRORS as error:
            raise WrongVersion(
                f"your own machine, version {self.version}, cannot read its snapshot, which was made while "
                f"the cluster's version was {own_metadata.cluster_version}: {reason_of(error)}. Nothing was "
                "changed: start the node with a version that can"
            ) from error

    # -------------------------------------------------------------------------------------------

    def _measured(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        before, size = self.machine_bytes, 0
        for part in parts:
            size += len(part)
            yield part
        self.machine_bytes += size - before

    def _take_over(self, own_metadata: OwnMachineSnapshot) -> None:
        self.answer_checksum.restore(
            own_metadata.answer_checksum, own_metadata.version, own_metadata.last_check
        )
        self._sessions.restore(own_metadata.sessions)
        self._cluster_version_is(own_metadata.cluster_version)

    def _cluster_version_is(self, version: int) -> None:
        self._cluster_version = version
        machine = self.machine
        if not isinstance(machine, Versioned):
            return
        try:
            machine.cluster_version_is(version)
        except ENVIRONMENT_ERRORS:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's, and it would stop all nodes
            kind, text = type(error).__name__, sendable(error)
            self.trouble = f"cluster_version_is({version}) raised {kind}: {text}"

    def _apply_once(self, task: ApplyTask) -> bytes:
        if not task.session:
            return self._apply(task)
        session = self._sessions.of(task.session)
        kept = session.kept.get(task.sequence)
        if kept is not None:
            return kept.answer
        if task.since > self._cluster_version:
            return self._apply(task)  # Not kept: a retry is carried out once the cluster's version allows it.
        self._sessions.forget(session, task.acknowledged)
        if session.kept_bytes > SESSION_BYTES_MAX and task.sequence > session.acknowledged + 1:
            return encode_answer(AnswersFull(session.acknowledged, session.kept_bytes))
        answer = self._apply(task)
        self._sessions.remember(session, task.sequence, Kept(0, answer))
        return answer

    def _apply(self, task: ApplyTask) -> bytes:
        machine = self.machine
        if task.since > self._cluster_version:
            return encode_answer(TooNew(task.since, self._cluster_version))
        self.machine_bytes += len(task.body)
        ask = None if machine is None else partial(machine.apply, task.index, task.body)
        return encode_answer(_ask(ask))


def _ask(ask: Callable[[], bytes] | None) -> Done | Refused:
    if ask is None:
        return Refused("this cluster has no machine of the user's own")
    try:
        result = ask()
    except MachineError as error:
        return Refused(sendable(error))
    except ENVIRONMENT_ERRORS:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the code is the user's, and may raise anything
        # Its text may hold an object's address, and the answer is part of the state of all replicas.
        return Refused(f"the machine raised {type(error).__name__}")
    if not isinstance(result, bytes):
        return Refused(f"the machine answered with {type(result).__name__}, not with bytes")
    return Done(result)
