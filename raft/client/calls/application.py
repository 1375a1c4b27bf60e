"""Application requests as bytes, and answers as values or as errors.

Owns this translation for both clients: limits are checked before anything is sent, and a refusal becomes
an error that says what to do about it. Knows nothing of how a request reaches a node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raft.client.errors import (
    CommandRefused,
    FenceRejected,
    LeaseEnded,
    Rejected,
    SessionExpired,
    UnsupportedVersion,
)
from raft.machines import results
from raft.machines.codec import decode_answer, encode_call, encode_question
from raft.machines.commands import Answered, Call, Own
from raft.machines.machine import MachineError


def call_bytes(call: Call) -> bytes:
    """A command's bytes. Raises CommandRefused, before anything is sent, if it exceeds a limit."""
    try:
        return encode_call(call)
    except MachineError as error:
        raise CommandRefused(str(error)) from None


def plain(operation: Answered[Any]) -> bytes:
    """A command outside of any session: applied as often as it is in the log."""
    try:
        return encode_call(Call(0, 0, 0, operation))  # type: ignore[arg-type]  # All operations are allowed.
    except MachineError as error:
        raise CommandRefused(str(error)) from None


def question_bytes(question: Answered[Any]) -> bytes:
    """A query's bytes. Raises CommandRefused if it exceeds a limit."""
    try:
        return encode_question(question)  # type: ignore[arg-type]  # All questions are allowed.
    except MachineError as error:
        raise CommandRefused(str(error)) from None


def own_command(body: bytes, since: int = 1) -> bytes:
    """A command of a custom machine, outside of any session."""
    return plain(Own(checked_body(body), since))


def own_query(body: bytes) -> bytes:
    """A query of a custom machine."""
    return question_bytes(Own(checked_body(body)))


def checked_body(body: bytes) -> bytes:
    """The bytes for a custom machine; TypeError for anything else."""
    if not isinstance(body, bytes):
        raise TypeError(
            f"a machine's command or query is bytes, not {type(body).__name__}; for typed ones use "
            "execute and evaluate"
        )
    return body


def own_result(result: bytes) -> bytes:
    """The answer of a custom machine; CommandRefused if it refused the request."""
    answer = decode_or_raise(result)
    assert isinstance(answer, results.Done), f"a custom machine cannot answer with {answer}"
    return answer.result


def _reused(answer: results.Answer) -> CommandRefused:
    return CommandRefused(f"two programs use the same session: {answer}")


def _too_new(answer: results.TooNew) -> UnsupportedVersion:
    return UnsupportedVersion(
        f"the command needs version {answer.since} of the machine, but the cluster's version had been "
        f"lowered to {answer.version} before it was applied; it was not carried out",
        answer.since,
        answer.version,
    )


_ERRORS: dict[type, Callable[[Any], Exception]] = {
    results.SessionExpired: lambda it: SessionExpired(f"the session {it.session} has expired"),
    results.LeaseGone: lambda it: LeaseEnded(f"the lease {it.lease} has ended"),
    results.FenceRejected: lambda it: FenceRejected(it.election, it.token, it.holder),
    results.TooNew: _too_new,
    results.Refused: lambda it: CommandRefused(it.reason),
    results.AnswersFull: lambda it: Rejected(
        f"the session holds {it.kept_bytes} bytes of answers that were not acknowledged"
    ),
    results.SequenceReused: _reused,
    results.Acknowledged: _reused,
    results.WindowFull: _reused,
}


def decode_or_raise(result: bytes) -> results.Answer:
    """The answer, or the error that a refusal stands for, raised."""
    answer = decode_answer(result)
    error = _ERRORS.get(type(answer))
    if error is not None:
        raise error(answer)
    return answer
