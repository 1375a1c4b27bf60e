"""Requests and answers as bytes, and the check of a request against the limits.

Owns both directions of both. The sender checks before anything is sent, and each replica checks again, for
a sender may be another program. Knows nothing of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from raft.machines.commands import (
    COMMAND_BYTES_MAX,
    ELECTION_BYTES_MAX,
    KEY_BYTES_MAX,
    LEASES_MAX_PER_EXPIRE,
    LIMIT_MAX,
    NODE,
    SEATS_MAX,
    TRANSACTION_PARTS_MAX,
    TTL_MS_MAX,
    TTL_MS_MIN,
    VALUE_BYTES_MAX,
    Agree,
    Call,
    Campaign,
    Check,
    CompareAndSwap,
    CompareNumber,
    CompareValue,
    Count,
    Delete,
    DeleteRange,
    Expire,
    Fence,
    Get,
    GetElection,
    Grant,
    ListLeases,
    OpenSession,
    Proclaim,
    Put,
    Question,
    Range,
    Request,
    Resign,
    Transaction,
    WatchElection,
    WatchKeys,
)
from raft.machines.machine import MachineError
from raft.machines.results import (
    Acknowledged,
    Answer,
    AnswersFull,
    SequenceReused,
    SessionExpired,
    WindowFull,
)

encode_answer: Callable[[Answer], bytes] = msgspec.msgpack.Encoder().encode
_ENCODER = msgspec.msgpack.Encoder()
_CALLS = msgspec.msgpack.Decoder(Call)
_QUESTIONS: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


# How the calls of session NODE begin; a node takes no such bytes from a client.
_NODES_OWN = _ENCODER.encode(Call(NODE, 0, 0, Check(0, 0)))[:2]


# The tags of answers about a session, which don't say whether an earlier copy was carried out.
_ANSWERS_FULL = encode_answer(AnswersFull(0, 0))[:2]
_OF_SESSIONS = {
    _ANSWERS_FULL,
    *(
        encode_answer(answer)[:2]
        for answer in (SessionExpired(0), SequenceReused(0, 0), Acknowledged(0), WindowFull(0))
    ),
}


def is_of_session(result: bytes) -> bool:
    """Does an answer speak of the session, and not of the command?"""
    return result[:2] in _OF_SESSIONS


def is_answers_full(result: bytes) -> bool:
    """Is it `AnswersFull`?"""
    return result[:2] == _ANSWERS_FULL


def is_nodes_own(command: bytes) -> bool:
    """Whether only nodes may send this command."""
    return command[:2] == _NODES_OWN


def question_tag(query: bytes) -> int:
    """The kind of question in a query's bytes, without decoding them; 0 if unknown."""
    return query[1] if len(query) > 1 else 0


def encode_nodes_own(operation: Expire | Check | Agree) -> bytes:
    """Encode a command that only nodes may send."""
    return encode_call(Call(NODE, 0, 0, operation))


def encode_call(call: Call) -> bytes:
    """A command's bytes; MachineError, before anything is sent, if it is beyond the limits."""
    return _encode(call, call.operation)


def encode_question(question: Question) -> bytes:
    """A query's bytes; MachineError, before anything is sent, if it is beyond the limits."""
    return _encode(question, question)


def decode_call(command: bytes) -> Call | None:
    """What `encode_call` wrote, its operation not yet checked; None for anything else."""
    try:
        call = _CALLS.decode(command)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    # There are other ways to write a negative number, which no node has looked for.
    for_nodes = type(call.operation) in (Expire, Check, Agree)
    return call if (is_nodes_own(command) if for_nodes else call.session >= 0) else None


def decode_question(query: bytes) -> Question | None:
    """What `encode_question` wrote, not yet checked; None for anything else."""
    try:
        return _QUESTIONS.decode(query)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_answer(result: bytes) -> Answer:
    """What the application answered."""
    return _ANSWERS.decode(result)


def _encode(message: Call | Question, request: Request) -> bytes:
    reason = reason_against(request)
    if reason is not None:
        raise MachineError(reason)
    try:
        encoded = _ENCODER.encode(message)
    except (UnicodeEncodeError, OverflowError) as error:
        raise MachineError(str(error)) from None
    if len(encoded) > COMMAND_BYTES_MAX:
        raise MachineError(f"a request has at most {COMMAND_BYTES_MAX} bytes, not {len(encoded)}")
    return encoded


# -- the check -----------------------------------------------------------------------------------


def reason_against(request: Request) -> str | None:
    """Why a request is refused in every state; None if it is valid."""
    check = _CHECKS.get(type(request))
    return check(request) if check is not None else None


def _first(*reasons: str | None) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _put(request: Put) -> str | None:
    if len(request.key) > KEY_BYTES_MAX or len(request.value) > VALUE_BYTES_MAX:
        return _first(_key(request.key), _value(request.value))
    return None if request.fence is None else _fence(request.fence)


def _key(key: bytes | None) -> str | None:
    if key is not None and len(key) > KEY_BYTES_MAX:
        return f"a key has at most {KEY_BYTES_MAX} bytes, not {len(key)}"
    return None


def _value(value: bytes | None) -> str | None:
    if value is not None and len(value) > VALUE_BYTES_MAX:
        return f"a value has at most {VALUE_BYTES_MAX} bytes, not {len(value)}"
    return None


def _ttl(request: OpenSession | Grant) -> str | None:
    if not TTL_MS_MIN <= request.ttl_ms <= TTL_MS_MAX:
        return f"a TTL is from {TTL_MS_MIN} ms to {TTL_MS_MAX} ms (30 days), not {request.ttl_ms} ms"
    return None


def _expire(request: Expire) -> str | None:
    if len(request.leases) > LEASES_MAX_PER_EXPIRE:
        return f"at most {LEASES_MAX_PER_EXPIRE} leases expire at once, not {len(request.leases)}"
    return None


def _election(name: str) -> str | None:
    if not name:
        return "an election has a name"
    if len(name.encode("utf-8", "replace")) > ELECTION_BYTES_MAX:
        return f"the name of an election has at most {ELECTION_BYTES_MAX} bytes in UTF-8"
    return None


def _fence(fence: Fence | None) -> str | None:
    return _election(fence.election) if fence is not None and fence.election else None


def _campaign(request: Campaign) -> str | None:
    if not 1 <= request.seats <= SEATS_MAX:
        return f"an election has from 1 to {SEATS_MAX} seats, not {request.seats}"
    return _first(_election(request.election), _value(request.value))


def _transaction(request: Transaction) -> str | None:
    for parts in (request.compares, request.then, request.otherwise):
        if len(parts) > TRANSACTION_PARTS_MAX:
            return f"a transaction has at most {TRANSACTION_PARTS_MAX} parts of a kind, not {len(parts)}"
        for part in parts:
            reason = _CHECKS[type(part)](part)
            if reason is not None:
                return reason
    return _fence(request.fence)


def _watch(request: WatchKeys | WatchElection) -> str | None:
    if request.revision < 1:
        return f"revisions begin with 1, not {request.revision}"
    if request.skip < 0:
        return f"the events to skip are a number from 0 on, not {request.skip}"
    if isinstance(request, WatchElection):
        return _first(_election(request.election), _limit(request.limit))
    return _first(_key(request.start), _key(request.end), _limit(request.limit))


def _limit(limit: int) -> str | None:
    return None if 1 <= limit <= LIMIT_MAX else f"a limit is from 1 to {LIMIT_MAX}, not {limit}"


_CHECKS: dict[type, Callable[[Any], str | None]] = {
    Put: _put,
    OpenSession: _ttl,
    Grant: _ttl,
    Expire: _expire,
    Campaign: _campaign,
    Resign: lambda it: _election(it.election),
    Proclaim: lambda it: _first(_election(it.election), _value(it.value)),
    Delete: lambda it: _first(_key(it.key), _fence(it.fence)),
    CompareAndSwap: lambda it: _first(_key(it.key), _value(it.old), _value(it.new), _fence(it.fence)),
    DeleteRange: lambda it: _first(_key(it.start), _key(it.end), _fence(it.fence)),
    CompareValue: lambda it: _first(_key(it.key), _value(it.value)),
    CompareNumber: lambda it: _key(it.key),
    Transaction: _transaction,
    Get: lambda it: _key(it.key),
    Range: lambda it: _first(_key(it.start), _key(it.end), _limit(it.limit)),
    Count: lambda it: _first(_key(it.start), _key(it.end)),
    ListLeases: lambda it: _limit(it.limit),
    GetElection: lambda it: _election(it.election),
    WatchKeys: _watch,
    WatchElection: _watch,
}
