"""The replicated state machine: sessions, leases, elections, a key-value store, and the user's own machine.

Owns how the five are composed: each command passes its session and then goes to one part, and keys,
sessions and candidates attached to a lease end with it. Knows nothing of time, of replication, or of clients.

A command is carried out at once, in steps, or by the user's own machine, which is separate:

    begin ── bytes ───────────► the answer
      ├───── Unfinished ──────► resume, until it returns the answer; no other call is allowed until then
      └───── None ────────────► `own` gives the answer when it runs the `ApplyTask` among `tasks`

The user's own machine and the other parts don't depend on each other: `own` has the state of an index when
it has run all tasks up to that index.
"""

from __future__ import annotations

from _blake2 import blake2b  # As hashlib has it, which brings all of OpenSSL into each process.
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final
from zlib import crc32

import msgspec

from raft.machines.agreement import LEVEL, Agreement, level_too_low, too_old
from raft.machines.answer_checksum import CHECKED, REFUSED, AnswerChecksum, LastCheck
from raft.machines.codec import decode_call, decode_question, encode_answer, reason_against
from raft.machines.commands import (
    COMMAND_BYTES_MAX,
    KEY_BYTES_MAX,
    Agree,
    Call,
    Campaign,
    Check,
    Compact,
    CompareAndSwap,
    Count,
    Delete,
    DeleteRange,
    Downgrade,
    Expire,
    Get,
    GetElection,
    GetLease,
    Grant,
    ListLeases,
    OpenSession,
    Own,
    Proclaim,
    Put,
    Question,
    Range,
    Resign,
    Revoke,
    Transaction,
    Watch,
    WatchElection,
    WatchKeys,
)
from raft.machines.elections import Elections
from raft.machines.history import History
from raft.machines.leases import Leases
from raft.machines.machine import MachineError, StateMachine, WrongVersion
from raft.machines.own_machine import (
    ApplyTask,
    CompareTask,
    ForgetSessionsTask,
    OwnMachine,
    SetVersionTask,
    Task,
)
from raft.machines.results import (
    Agreed,
    Answer,
    Checked,
    Compacted,
    Ended,
    Events,
    Granted,
    LeaseGone,
    LeaseState,
    Opened,
    Refused,
)
from raft.machines.sessions import KEPT_BY_OWN_MACHINE, Sessions
from raft.machines.state import (
    FORMAT,
    Frozen,
    OwnMachineSnapshot,
    State,
    decode_state,
    encode_state,
    of_parts,
    parts_of,
)
from raft.machines.store import Steps, Store, at_once

# A fixed text: the decoder's may differ between its releases, and then replicas would differ.
_MALFORMED = encode_answer(Refused("these bytes are no request to this machine"))
_CODE = 1  # The version of the code in this folder: raised when its answers change.
LEASE_BYTES = 300  # The size that a lease or session counts for, without what is attached to it.


class Unfinished(Enum):
    """The command is not finished: call `resume`."""

    UNFINISHED = "unfinished"


UNFINISHED: Final = Unfinished.UNFINISHED


class Application:
    """A `StateMachine` whose commands, queries and answers are those of `operations` and `answers`.

    `own` is the user's machine, reached by `Own` commands and queries. All input from clients is
    answered; only errors of the environment (memory, disk) are raised.
    """

    def __init__(self, own: StateMachine | None = None) -> None:
        self.own = OwnMachine(own)
        self.level = LEVEL
        self.tasks: list[Task] = []
        """What the user's own machine has to do, in this order; the caller of `begin` takes them."""
        self.checked_until = 0
        """Checks up to this index were made by an earlier process, and are not repeated."""
        self._begin()

    def _begin(self) -> None:
        self._unfinished: Generator[None, None, bytes] | None = None
        self.history = History()
        self.leases = Leases()
        self.elections = Elections(self.leases, self.history)
        self.store = Store(self.leases, self.elections, self.history)
        self.sessions = Sessions()
        self.answer_checksum = AnswerChecksum(_CODE)
        self.agreement = Agreement()
        self._operations: Mapping[type, Callable[[int, Any], Answer | Generator[None, None, Answer]]] = {
            OpenSession: self._open_session,
            Grant: self._grant,
            Revoke: lambda index, request: at_once(self._end(index, (request.lease,))),
            Expire: lambda index, request: at_once(self._end(index, request.leases)),
            Campaign: self.elections.campaign,
            Resign: self.elections.resign,
            Proclaim: self.elections.proclaim,
            Put: self.store.put,
            Delete: self.store.delete,
            CompareAndSwap: self.store.swap,
            DeleteRange: self.store.delete_range,
            Transaction: self.store.transact,
            Compact: self._compact,
            Check: self._check,
            Agree: self._agree,
            Downgrade: self._downgrade,
        }
        self._questions: Mapping[type, Callable[[Any], Answer]] = {
            Get: lambda question: self.store.get(question.key),
            Range: self.store.range,
            Count: self.store.count,
            GetLease: self._lease_state,
            ListLeases: lambda question: self.leases.page(question.after, question.limit),
            GetElection: lambda question: self.elections.state(question.election),
            WatchKeys: self.history.since,
            WatchElection: self.history.since,
        }

    # -- the protocol of a state machine --------------------------------------------------------

    def apply(self, index: int, command: bytes) -> bytes:
        """Carry out one encoded `Call`, unless its session has done so before, and return the answer."""
        answer = self.begin(index, command)
        while isinstance(answer, Unfinished):
            answer = self.resume()
        for task in self.take_tasks():
            done = self.own.run(task)
            answer = done if done is not None else answer
        assert answer is not None, "a command is answered by the application or by the machine in it"
        return answer

    def query(self, query: bytes) -> bytes:
        """Answer one encoded `Question`."""
        answer = self.look_up(query)
        return self.own.query(answer.body) if isinstance(answer, Own) else answer

    def snapshot(self) -> bytes:
        """The whole state as bytes; equal states give equal bytes."""
        state = msgspec.structs.replace(
            self._head(),
            events=list(self.history.events),
            items=self.store.snapshot(),
            leases=self.leases.snapshot(),
            elections=self.elections.snapshot(),
            sessions=self.sessions.snapshot(),
            own=self.own.snapshot(),
            own_metadata=self.own.own_metadata(),
        )
        return encode_state(state)

    def restore(self, data: bytes) -> None:
        """Restore the state of an earlier `snapshot`; b"" is the empty one.

        Raises MachineError, with nothing changed, for bytes that this machine did not write.
        """
        state = decode_state(data)
        if state is not None:
            self._check_own(state)
        self.own.restore(
            *(state.own, state.own_metadata) if state is not None else (b"", OwnMachineSnapshot())
        )
        if state is None:
            self._begin()
        else:
            self._take_over(state)

    def snapshot_parts(self) -> Iterator[bytes]:
        """See `InParts`. This is quick only if the user's own machine also offers parts."""
        return parts_of(self.freeze(), self.own.parts())

    def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """See `InParts`; raises as `restore` does, but the present state is lost then."""
        self.own.restore_parts(self.restore_apart(parts))

    # -- the same, without the user's own machine ----------------------------------------------

    def begin(self, index: int, command: bytes, decoded: Call | None = None) -> bytes | Unfinished | None:
        """Begin a command; the module's docstring says what is returned.

        `decoded` is the result of `decode_call`, if the caller has it already.
        """
        call = decoded
        if call is None:
            if len(command) <= COMMAND_BYTES_MAX:
                call = decode_call(command)
            if call is None:
                return self.answer_checksum.add(_MALFORMED)
        operation = call.operation
        if call.session > 0:
            settled = self.sessions.settled(call, command)
            if settled is not None and settled != KEPT_BY_OWN_MACHINE:
                return self.answer_checksum.add(
                    settled if isinstance(settled, bytes) else encode_answer(settled)
                )
            if type(operation) is Own:
                if operation.since > self.agreement.newest:
                    self._note_version(operation)
                if settled is None:
                    self.sessions.keep(call, command, KEPT_BY_OWN_MACHINE)
                acknowledged = self.sessions.acknowledged(call.session)
                self.tasks.append(
                    ApplyTask(
                        index, operation.body, call.session, call.sequence, acknowledged, operation.since
                    )
                )
                return None
        elif type(operation) is Own:
            if operation.since > self.agreement.newest:
                self._note_version(operation)
            self.tasks.append(ApplyTask(index, operation.body, since=operation.since))
            return None
        # A command this short has no key and no value beyond the limits.
        if len(command) > KEY_BYTES_MAX or type(operation) is not Put or operation.fence is not None:
            reason = reason_against(operation)
            if reason is not None:
                return self._done(call, command, Refused(reason))
        answer = self._operations[type(operation)](index, operation)
        if isinstance(answer, msgspec.Struct):
            return self._done(call, command, answer)
        self._unfinished = self._finish(call, command, answer)
        return UNFINISHED

    def resume(self) -> bytes | Unfinished:
        """Continue the unfinished command."""
        steps, self._unfinished = self._unfinished, None
        assert steps is not None, "no command is unfinished"
        try:
            next(steps)
        except StopIteration as end:
            answer: bytes = end.value
            return answer
        self._unfinished = steps
        return UNFINISHED

    @property
    def unfinished(self) -> bool:
        """Whether a command is unfinished."""
        return self._unfinished is not None

    def take_tasks(self) -> list[Task]:
        """Return and clear the tasks of the user's own machine, in order; the caller runs them."""
        tasks, self.tasks = self.tasks, []
        return tasks

    def look_up(self, query: bytes) -> bytes | Own:
        """The answer to an encoded `Question`, or the question itself if it is for the user's own machine."""
        question = decode_question(query)
        if isinstance(question, Own):
            return question
        return _MALFORMED if question is None else encode_answer(self._look_up(question))

    def freeze(self) -> Frozen:
        """The current state without the user's own machine. Quick: the state is read later, lazily."""
        return Frozen(
            self._head(),
            self.history.events,
            self.store.frozen(),
            self.leases.frozen(),
            self.elections.frozen(),
            self.sessions.frozen(),
        )

    def restore_apart(self, parts: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        """Restore everything but the user's own machine, whose parts are returned."""
        state, own_parts = of_parts(parts, with_own=self.own.machine is not None)
        self._check_own(state)
        self._take_over(state)
        return own_parts

    def _check_own(self, state: State) -> None:
        if (state.own is None) != (self.own.machine is None):
            raise MachineError(
                "a snapshot with a machine of the user's own needs that machine, and no other does"
            )
        self._check_version(state.agreement)

    def _check_version(self, agreement: Agreement) -> None:
        if self.own.version < agreement.version:
            raise WrongVersion(too_old(agreement.version, self.own.version))
        if self.level < agreement.level:
            raise WrongVersion(level_too_low(agreement.level, self.level))

    def _take_over(self, state: State) -> None:
        self._begin()
        self.tasks.clear()
        self.answer_checksum.restore(state.answer_checksum, state.version, state.last_check)
        self.agreement = state.agreement
        self.history.restore(state.events, state.revision, state.compacted)
        self.leases.restore(state.leases)
        self.elections.restore(state.elections)
        self.store.restore(state.items)
        self.sessions.restore(state.sessions)

    def _head(self) -> State:
        return State(
            format=FORMAT,
            answer_checksum=self.answer_checksum.value,
            last_check=self.answer_checksum.last,
            revision=self.history.revision,
            compacted=self.history.compacted,
            events=[],
            items=[],
            leases=[],
            elections=[],
            sessions=[],
            own=None if self.own.machine is None else b"",
            agreement=self.agreement,
            version=self.answer_checksum.version,
        )

    # -- other queries of a node ---------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The index of the last command with events: when it grows, watchers may have new events."""
        return self.history.revision

    def events_since(self, watch: Watch) -> Events | Compacted:
        """The events that a watcher lacks which has seen everything before `watch.revision`."""
        return self.history.since(watch)

    @property
    def size_bytes(self) -> int:
        """What all of it takes in memory, more or less; without the user's own machine."""
        leases = LEASE_BYTES * len(self.leases)
        return (
            self.store.size_bytes
            + self.history.size_bytes
            + self.elections.size_bytes
            + self.sessions.size_bytes
            + leases
        )

    def next_check(self) -> Check | None:
        """What a leader has to propose so that the replicas check each other; None if all is checked.

        Also None while the user's own machine has not reached the last check.
        """
        last, own = self.answer_checksum.last, self.own.answer_checksum.last
        if own.index != last.index or (self.answer_checksum.settled and self.own.answer_checksum.settled):
            return None
        return Check(last.index, last.answer_checksum, last.version, own.answer_checksum, own.version)

    def state_hash(self) -> bytes:
        """A digest of the whole state, equal on replicas at the same index.

        As costly as a snapshot. `answer_checksum`, a checksum of the answers, costs nothing, and finds
        replicas that have parted as soon as they answer differently: see `Check`.
        """
        return blake2b(self.snapshot(), digest_size=16).digest()

    # -- carrying out ---------------------------------------------------------------------------

    def _done(self, call: Call, command: bytes, answer: Answer) -> bytes:
        encoded = encode_answer(answer)
        if call.session > 0:
            self.sessions.keep(call, command, encoded)
        if encoded != CHECKED:  # As `AnswerChecksum.add` does, without a call.
            answer_checksum = self.answer_checksum
            answer_checksum.value = crc32(encoded if encoded[1] else REFUSED, answer_checksum.value)
        return encoded

    def _finish(
        self, call: Call, command: bytes, steps: Generator[None, None, Answer]
    ) -> Generator[None, None, bytes]:
        return self._done(call, command, (yield from steps))

    def _look_up(self, question: Question) -> Answer:
        reason = reason_against(question)
        if reason is not None:
            return Refused(reason)
        return self._questions[type(question)](question)

    def _open_session(self, index: int, request: OpenSession) -> Opened:
        self.sessions.open(self.leases.grant(index, request.ttl_ms))
        return Opened(index, request.ttl_ms)

    def _grant(self, index: int, request: Grant) -> Granted:
        return Granted(self.leases.grant(index, request.ttl_ms), request.ttl_ms)

    def _end(self, index: int, leases: tuple[int, ...]) -> Steps[Ended]:
        ended = self.leases.end(leases)
        self.elections.drop(index, ended)
        yield from self.store.drop(index, ended)
        self.sessions.drop(ended)
        if ended:
            self.tasks.append(ForgetSessionsTask(ended))
        return Ended(ended)

    def _compact(self, index: int, request: Compact) -> Compacted | Refused:  # noqa: ARG002
        if request.revision > self.history.revision:
            return Refused(f"revision {request.revision} is still to come after {self.history.revision}")
        self.history.compact(request.revision)
        return Compacted(self.history.compacted)

    def _check(self, index: int, request: Check) -> Checked:
        of = own = None
        if index > self.checked_until:
            of = LastCheck(request.index, request.answer_checksum, version=request.version)
            own = LastCheck(request.index, request.own_answer_checksum, version=request.own_version)
        self.answer_checksum.check(index, of, "")
        self.tasks.append(CompareTask(index, own))
        return Checked()

    def _note_version(self, operation: Own) -> None:
        if operation.since <= self.agreement.version:
            self.agreement = self.agreement.uses(operation.since)

    def _agree(self, index: int, request: Agree) -> Agreed:  # noqa: ARG002
        return self._become_agreed(self.agreement.agree(request))

    def _downgrade(self, index: int, request: Downgrade) -> Agreed | Refused:  # noqa: ARG002
        agreement = self.agreement.downgrade(request)
        return Refused(agreement) if isinstance(agreement, str) else self._become_agreed(agreement)

    def _become_agreed(self, agreement: Agreement) -> Agreed:
        self._check_version(agreement)
        if agreement.version != self.agreement.version:
            self.tasks.append(SetVersionTask(agreement.version))
        self.agreement = agreement
        return Agreed(agreement.version, agreement.ceiling)

    def _lease_state(self, question: GetLease) -> LeaseState | LeaseGone:
        ttl_ms = self.leases.ttls_ms.get(question.lease)
        if ttl_ms is None:
            return LeaseGone(question.lease)
        keys, more = self.store.keys_of(question.lease, question.after)
        return LeaseState(question.lease, ttl_ms, keys, more)
