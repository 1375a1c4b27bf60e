"""The machine that applications hold on to: sessions, leases, elections, a store, and one's own machine.

Owns how the five are composed: each command goes through its session to the one part that it is for, and
what hangs on a lease goes when the lease does. Knows nothing of time, of replication, or of clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any
from zlib import crc32

from raft.machines.answers import (
    Answer,
    Checked,
    Compacted,
    Done,
    Ended,
    Events,
    Granted,
    Item,
    LeaseGone,
    LeaseState,
    Opened,
    Refused,
)
from raft.machines.elections import Elections
from raft.machines.encoding import decode_call, decode_question, encode_answer, reason_against
from raft.machines.history import History
from raft.machines.leases import Leases
from raft.machines.machine import GROUND_ERRORS, Diverged, InParts, MachineError, StateMachine, sendable
from raft.machines.operations import (
    COMMAND_BYTES_MAX,
    Campaign,
    Check,
    Compact,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Expire,
    Get,
    GetElection,
    GetLease,
    Grant,
    OpenSession,
    Operation,
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
from raft.machines.sessions import Sessions
from raft.machines.state import FORMAT, LastCheck, State, decode_state, encode_state, of_parts, parts_of
from raft.machines.store import Store

# Not the decoder's words: they may change from one release of it to the next, and replicas with them.
_MALFORMED = encode_answer(Refused("these bytes are no request to this machine"))
_CHECKED = encode_answer(Checked())


class Application:
    """A `StateMachine` whose commands, queries and answers are those of `operations` and `answers`.

    `own` is the user's machine, reached by `Own` commands and queries. Whatever a client sends is answered;
    only an error of the ground that the machine stands on (memory, disk) is raised.
    """

    def __init__(self, own: StateMachine | None = None) -> None:
        self._own = own
        self._begin()

    def _begin(self) -> None:
        self.history = History()
        self.leases = Leases()
        self.elections = Elections(self.leases, self.history)
        self.store = Store(self.leases, self.elections, self.history)
        self.sessions = Sessions()
        self.trail = 0
        self.last_check = LastCheck()
        self._operations: Mapping[type, Callable[[int, Any], Answer]] = {
            OpenSession: self._open_session,
            Grant: self._grant,
            Revoke: lambda index, request: self._end(index, (request.lease,)),
            Expire: lambda index, request: self._end(index, request.leases),
            Campaign: self.elections.campaign,
            Resign: self.elections.resign,
            Proclaim: self.elections.proclaim,
            Put: self.store.put,
            Delete: self.store.delete,
            CompareAndSwap: self.store.swap,
            DeleteRange: self.store.delete_range,
            Transaction: self.store.transact,
            Compact: self._compact,
            Own: self._apply_own,
            Check: self._check,
        }
        self._questions: Mapping[type, Callable[[Any], Answer]] = {
            Get: lambda question: self.store.get(question.key),
            Range: self.store.range,
            GetLease: self._lease_state,
            GetElection: lambda question: self.elections.state(question.election),
            WatchKeys: self.history.since,
            WatchElection: self.history.since,
            Own: self._query_own,
        }

    # -- the protocol of a state machine --------------------------------------------------------

    def apply(self, index: int, command: bytes) -> bytes:
        """Carry out one encoded `Call`, unless its session has had that done before, and answer it."""
        call = decode_call(command) if len(command) <= COMMAND_BYTES_MAX else None
        if call is None:
            answer = _MALFORMED
        elif call.session <= 0:
            answer = encode_answer(self._carry_out(index, call.operation))
        else:
            settled = self.sessions.settled(call, command)
            if settled is None:
                answer = encode_answer(self._carry_out(index, call.operation))
                self.sessions.keep(call, command, answer)
            else:
                answer = settled if isinstance(settled, bytes) else encode_answer(settled)
        if answer != _CHECKED:  # A check is nothing new to check.
            self.trail = crc32(answer, self.trail)
        return answer

    def query(self, query: bytes) -> bytes:
        """Answer one encoded `Question`."""
        question = decode_question(query)
        return _MALFORMED if question is None else encode_answer(self._look_up(question))

    def snapshot(self) -> bytes:
        """The whole state, in an order that does not depend on how it came about."""
        own = self._own.snapshot() if self._own is not None else None
        return encode_state(self._state(self.store.snapshot(), own))

    def restore(self, data: bytes) -> None:
        """Become the state of an earlier `snapshot`; b"" is the empty one.

        MachineError, with nothing changed, for what this machine did not write.
        """
        state = decode_state(data)
        self._check_own(state)
        if self._own is not None:
            self._own.restore(state.own if state is not None and state.own is not None else b"")
        if state is None:
            self._begin()
        else:
            self._become(state)

    def _check_own(self, state: State | None) -> None:
        if state is not None and (state.own is None) != (self._own is None):
            raise MachineError(
                "a snapshot with a machine of the user's own needs that machine, and no other does"
            )

    def _become(self, state: State) -> None:
        self._check_own(state)
        self._begin()
        self.trail, self.last_check = state.trail, state.last_check
        self.history.restore(state.events, state.revision, state.compacted)
        self.leases.restore(state.leases)
        self.elections.restore(state.elections)
        self.store.restore(state.items)
        self.sessions.restore(state.sessions)

    def snapshot_parts(self) -> Iterator[bytes]:
        """See `InParts`. The user's own machine is quick only if it offers parts, too."""
        own = self._own
        own_parts: Iterator[bytes] = iter(())
        if own is not None:
            own_parts = own.snapshot_parts() if isinstance(own, InParts) else iter((own.snapshot(),))
        state = self._state([], None if own is None else b"")
        return parts_of(state, self.store.frozen(), own_parts)

    def restore_parts(self, parts: Iterable[bytes | memoryview]) -> None:
        """See `InParts`; raises as `restore` does, the present state lost."""
        own = self._own
        state, own_parts = of_parts(parts, with_own=own is not None)
        self._become(state)
        if isinstance(own, InParts):
            # Copies: a machine may keep what it is given, and these are views of a file.
            own.restore_parts(map(bytes, own_parts))
        elif own is not None:
            own.restore(b"".join(own_parts))

    def _state(self, items: list[Item], own: bytes | None) -> State:
        return State(
            format=FORMAT,
            trail=self.trail,
            last_check=self.last_check,
            revision=self.history.revision,
            compacted=self.history.compacted,
            events=list(self.history.events),
            items=items,
            leases=sorted(self.leases.ttls_ms.items()),
            elections=self.elections.snapshot(),
            sessions=self.sessions.snapshot(),
            own=own,
        )

    # -- what a node asks besides ---------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The index of the last command that watchers hear of: if it has grown, some may have news."""
        return self.history.revision

    def events_since(self, watch: Watch) -> Events | Compacted:
        """What a watcher that has seen everything before `watch.revision` has yet to hear."""
        return self.history.since(watch)

    def next_check(self) -> Check | None:
        """What a leader has to propose so that the replicas check each other; None if all is checked."""
        last = self.last_check
        return None if last.settled and last.trail == self.trail else Check(last.index, last.trail)

    def state_hash(self) -> bytes:
        """A digest of the whole state, equal on replicas that stand at the same index.

        As costly as a snapshot. `trail`, a checksum of all answers so far, costs nothing, and finds
        replicas that have parted as soon as they answer differently: see `Check`.
        """
        return blake2b(self.snapshot(), digest_size=16).digest()

    # -- carrying out ---------------------------------------------------------------------------

    def _carry_out(self, index: int, operation: Operation) -> Answer:
        reason = reason_against(operation)
        if reason is not None:
            return Refused(reason)
        return self._operations[type(operation)](index, operation)

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

    def _end(self, index: int, leases: tuple[int, ...]) -> Ended:
        ended = self.leases.end(leases)
        self.elections.drop(index, ended)
        self.store.drop(index, ended)
        self.sessions.drop(ended)
        return Ended(ended)

    def _compact(self, index: int, request: Compact) -> Compacted | Refused:  # noqa: ARG002
        if request.revision > self.history.revision:
            return Refused(f"revision {request.revision} is still to come after {self.history.revision}")
        self.history.compact(request.revision)
        return Compacted(self.history.compacted)

    def _check(self, index: int, request: Check) -> Checked:
        last = self.last_check
        if request.index == last.index and request.trail != last.trail:
            raise Diverged(
                f"the answers up to index {last.index} are not those of the leader "
                f"(checksum {last.trail:08x} here, {request.trail:08x} there): is the machine deterministic?"
            )
        self.last_check = LastCheck(index, self.trail, settled=self.trail == request.trail)
        return Checked()

    def _lease_state(self, question: GetLease) -> LeaseState | LeaseGone:
        ttl_ms = self.leases.ttls_ms.get(question.lease)
        if ttl_ms is None:
            return LeaseGone(question.lease)
        return LeaseState(question.lease, ttl_ms, self.store.keys_of(question.lease))

    # -- the user's own machine -----------------------------------------------------------------

    def _apply_own(self, index: int, request: Own) -> Done | Refused:
        own = self._own
        return _ask_own(None if own is None else lambda: own.apply(index, request.body))

    def _query_own(self, question: Own) -> Done | Refused:
        own = self._own
        return _ask_own(None if own is None else lambda: own.query(question.body))


def _ask_own(ask: Callable[[], bytes] | None) -> Done | Refused:
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
