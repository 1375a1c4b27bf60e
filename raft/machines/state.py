"""A snapshot of the application, as bytes: whole, or in parts.

Owns that form, in which the same state is the same bytes on every replica. Knows nothing of how the state
came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec
from msgspec import Struct

from raft.machines.answers import Candidate, Event, Item
from raft.machines.history import weight_of
from raft.machines.machine import MachineError
from raft.machines.parts import in_parts
from raft.machines.sessions import SessionState

FORMAT = 2


class LastCheck(Struct, frozen=True, array_like=True, gc=False):
    """Where the last check was, the trail up to there, and whether that holds nothing unchecked."""

    index: int = 0
    trail: int = 0
    settled: bool = True


class State(Struct, frozen=True, array_like=True):
    """All of it."""

    format: int
    trail: int
    last_check: LastCheck
    revision: int
    compacted: int
    events: list[Event]
    items: list[Item]
    leases: list[tuple[int, int]]
    elections: list[tuple[str, int, list[Candidate]]]
    sessions: list[SessionState]
    own: bytes | None  # What the user's own machine wrote; None without one.


_ENCODER = msgspec.msgpack.Encoder()
_STATES = msgspec.msgpack.Decoder(State)
_EVENT_LISTS: msgspec.msgpack.Decoder[list[Event]] = msgspec.msgpack.Decoder(list[Event])
_ITEM_LISTS = msgspec.msgpack.Decoder(list[Item])
_SESSION_LISTS = msgspec.msgpack.Decoder(list[SessionState])
# The first byte of a part says what the rest of it is.
_HEAD, _EVENTS, _ITEMS, _SESSIONS, _OWN = (bytes((kind,)) for kind in range(5))


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
    if state.format != FORMAT:
        raise MachineError(f"the snapshot has the format {state.format}, and this release reads {FORMAT}")
    return state


def parts_of(state: State, items: Iterable[Item], own: Iterator[bytes]) -> Iterator[bytes]:
    """The state in parts, its items and the user's own parts drawn as they are needed."""
    small = msgspec.structs.replace(state, events=[], items=[], sessions=[])
    return chain(
        (_HEAD + _ENCODER.encode(small),),
        (_EVENTS + part for part in in_parts(state.events, weight_of)),
        (_ITEMS + part for part in in_parts(items, weight_of)),
        (_SESSIONS + part for part in in_parts(state.sessions, _session_bytes)),
        (_OWN + part for part in own),
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
        elif kind == _SESSIONS:
            state.sessions.extend(_SESSION_LISTS.decode(body))
        else:
            own_parts.append(body)
    return state, own_parts


def _session_bytes(session: SessionState) -> int:
    return 64 + sum(32 + len(kept.answer) for _, kept in session.kept)
