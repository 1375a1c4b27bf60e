"""A snapshot of the application, as bytes: whole, or in parts.

Owns the encoding: equal states give equal bytes on every replica. Knows nothing of commands.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import TypeVar

import msgspec
from msgspec import Struct

from raft.machines.agreement import Agreement
from raft.machines.answer_checksum import SEVERAL, LastCheck
from raft.machines.history import EVENT_BYTES, weight_of
from raft.machines.machine import MachineError
from raft.machines.results import Candidate, Event, Item
from raft.machines.sessions import SessionState

FORMAT = 3


class OwnMachineSnapshot(Struct, frozen=True, array_like=True):
    """What is kept beside the user's own machine: see `OwnMachine`."""

    answer_checksum: int = 0
    last_check: LastCheck = LastCheck()
    sessions: list[SessionState] = []
    cluster_version: int = 1
    version: int = SEVERAL  # Of the code that gave the answers in the checksum.


class State(Struct, frozen=True, array_like=True):
    """The whole state of the application."""

    format: int
    answer_checksum: int
    last_check: LastCheck
    revision: int
    compacted: int
    events: list[Event]
    items: list[Item]
    leases: list[tuple[int, int]]
    elections: list[tuple[str, int, list[Candidate]]]
    sessions: list[SessionState]
    own: bytes | None  # What the user's own machine wrote; None without one.
    own_metadata: OwnMachineSnapshot = OwnMachineSnapshot()
    agreement: Agreement = Agreement()
    version: int = SEVERAL  # Of the code that gave the answers in the checksum.


_ENCODER = msgspec.msgpack.Encoder()
_STATES = msgspec.msgpack.Decoder(State)
_EVENT_LISTS: msgspec.msgpack.Decoder[list[Event]] = msgspec.msgpack.Decoder(list[Event])
_ITEM_LISTS = msgspec.msgpack.Decoder(list[Item])
_SESSION_LISTS = msgspec.msgpack.Decoder(list[SessionState])
_LEASE_LISTS = msgspec.msgpack.Decoder(list[tuple[int, int]])
_ELECTION_LISTS = msgspec.msgpack.Decoder(list[tuple[str, int, list[Candidate]]])
_OWN_METADATA_DECODER = msgspec.msgpack.Decoder(OwnMachineSnapshot)
# The first byte of a part says what the rest of it is.
_HEAD, _EVENTS, _ITEMS, _SESSIONS, _OWN, _LEASES, _ELECTIONS, _OWN_METADATA, _OWN_SESSIONS = (
    bytes((kind,)) for kind in range(9)
)
_LEASE_BYTES = 64


def empty_state(*, with_own: bool) -> State:
    """The state of a machine that has done nothing, with or without one of the user's own."""
    return State(FORMAT, 0, LastCheck(), 0, 0, [], [], [], [], [], b"" if with_own else None)


def encode_state(state: State) -> bytes:
    """The state as a whole."""
    return _ENCODER.encode(state)


def decode_state(data: bytes | memoryview) -> State | None:
    """What `encode_state` wrote, None for b""; MachineError for anything else."""
    if not data:
        return None
    try:
        state = _STATES.decode(data)
    except msgspec.DecodeError as error:
        raise MachineError(f"this is no snapshot of this machine: {error}") from None
    # Format 2 is the same but for what a machine of the user's own adds to it.
    if state.format != FORMAT and (state.format != 2 or state.own is not None):
        raise MachineError(f"the snapshot has the format {state.format}, and this release reads {FORMAT}")
    return state


class Frozen(Struct, frozen=True):
    """The state of one moment, without the user's own machine, read lazily."""

    head: State  # Without what follows.
    events: Iterable[Event]
    items: Iterable[Item]
    leases: Iterable[tuple[int, int]]
    elections: Iterable[tuple[str, int, list[Candidate]]]
    sessions: Iterable[SessionState]
    label: bytes | None = None  # A part of the caller, put in front.


def parts_of(frozen: Frozen, own: Iterable[bytes]) -> Iterator[bytes]:
    """The state in parts; those of the user's own machine come last."""
    return chain(
        () if frozen.label is None else (frozen.label,),
        (_HEAD + _ENCODER.encode(frozen.head),),
        (_EVENTS + part for part in in_parts(frozen.events, _event_bytes)),
        (_ITEMS + part for part in in_parts(frozen.items, _event_bytes)),
        (_LEASES + part for part in in_parts(frozen.leases, _lease_bytes)),
        (_ELECTIONS + part for part in in_parts(frozen.elections, _election_bytes)),
        (_SESSIONS + part for part in in_parts(frozen.sessions, _session_bytes)),
        own,
    )


def of_parts(
    parts: Iterable[bytes | memoryview], *, with_own: bool
) -> tuple[State, list[bytes | memoryview]]:
    """The state that the parts make up, and the parts of the user's own machine."""
    state = empty_state(with_own=with_own)
    own_parts: list[bytes | memoryview] = []
    for part in parts:
        kind, body = bytes(part[:1]), part[1:]
        if kind == _HEAD:
            state = decode_state(body) or state
        elif kind == _EVENTS:
            state.events.extend(_EVENT_LISTS.decode(body))
        elif kind == _ITEMS:
            state.items.extend(_ITEM_LISTS.decode(body))
        elif kind == _LEASES:
            state.leases.extend(_LEASE_LISTS.decode(body))
        elif kind == _ELECTIONS:
            state.elections.extend(_ELECTION_LISTS.decode(body))
        elif kind == _SESSIONS:
            state.sessions.extend(_SESSION_LISTS.decode(body))
        else:
            own_parts.append(part)
    return state, own_parts


def agreement_in(parts: Iterable[bytes | memoryview]) -> Agreement:
    """The agreement in a snapshot; reads no more parts than needed."""
    for part in parts:
        if bytes(part[:1]) == _HEAD:
            state = decode_state(part[1:])
            return Agreement() if state is None else state.agreement
    return Agreement()


def rebased(parts: Iterable[bytes | memoryview], revision: int) -> Iterator[bytes | memoryview]:
    """The same state at a later revision, with all events up to it removed.

    A watcher that continues from an earlier revision gets `Compacted`.
    """
    for part in parts:
        kind = bytes(part[:1])
        if kind == _HEAD:
            head = decode_state(part[1:])
            assert head is not None, "the head of a state is never empty"
            yield _HEAD + _ENCODER.encode(
                msgspec.structs.replace(head, revision=revision, compacted=revision)
            )
        elif kind != _EVENTS:
            yield part


def own_parts_of(own_metadata: OwnMachineSnapshot, machine: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of the user's own machine, and of what is kept beside it."""
    return chain(
        (_OWN_METADATA + _ENCODER.encode(msgspec.structs.replace(own_metadata, sessions=[])),),
        (_OWN_SESSIONS + part for part in in_parts(own_metadata.sessions, _session_bytes)),
        (_OWN + part for part in machine),
    )


def own_metadata_of(
    parts: Iterable[bytes | memoryview],
) -> tuple[OwnMachineSnapshot, list[bytes | memoryview]]:
    """What is kept beside the user's own machine, and the machine's parts."""
    own_metadata = OwnMachineSnapshot(sessions=[])
    machine: list[bytes | memoryview] = []
    for part in parts:
        kind, body = bytes(part[:1]), part[1:]
        if kind == _OWN_METADATA:
            own_metadata = msgspec.structs.replace(
                _OWN_METADATA_DECODER.decode(body), sessions=own_metadata.sessions
            )
        elif kind == _OWN_SESSIONS:
            own_metadata.sessions.extend(_SESSION_LISTS.decode(body))
        else:
            machine.append(body)
    return own_metadata, machine


def _event_bytes(events: Sequence[Event]) -> list[int]:
    return [
        # An item is weighed here, as almost all of them are that: a call for each would take longer.
        EVENT_BYTES + len(event.key) + len(event.value) if type(event) is Item else weight_of(event)
        for event in events
    ]


def _lease_bytes(leases: Sequence[tuple[int, int]]) -> list[int]:
    return [_LEASE_BYTES] * len(leases)


def _election_bytes(elections: Sequence[tuple[str, int, list[Candidate]]]) -> list[int]:
    return [64 + sum(64 + len(candidate.value) for candidate in queue) for _, _, queue in elections]


def _session_bytes(sessions: Sequence[SessionState]) -> list[int]:
    return [64 + sum(32 + len(kept.answer) for _, kept in session.kept) for session in sessions]


T = TypeVar("T")

# Other threads can run only between parts, and must not wait long.
PART_BYTES = 128 * 1024
RUN_VALUES = 512  # Weighed at once.


def in_parts(values: Iterable[T], bytes_of: Callable[[Sequence[T]], Sequence[int]]) -> Iterator[bytes]:
    """The values in their order, as msgpack arrays of about `PART_BYTES` each; none at all is no part.

    Where a part ends depends on nothing but the values and their bytes, which are above 0.
    """
    batch: list[T] = []
    size = 0
    rest = iter(values)
    while run := list(islice(rest, RUN_VALUES)):
        sizes = list(accumulate(bytes_of(run), initial=size))  # Of the batch without the first, with it, ...
        begin = before = 0
        while sizes[-1] - before >= PART_BYTES:
            end = bisect_left(sizes, before + PART_BYTES)
            batch += run[begin:end]
            yield _ENCODER.encode(batch)
            batch, begin, before = [], end, sizes[end]
        batch += run[begin:]
        size = sizes[-1] - before
    if batch:
        yield _ENCODER.encode(batch)
