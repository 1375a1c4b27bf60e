"""How a verb is answered.

Owns the two outcomes of a verb, and the answer for a refusal. Knows nothing of what verbs do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors.asks import Reply
from raft.cluster.failures import ExitCode, VerbFailed
from raft.cluster.rpc.messages import Done, Failed

Lines = list[str]


class Answer(Protocol):
    """Receives a verb's outcome: one of the two, once."""

    def done(self, lines: Lines) -> None:
        """It was carried out."""

    def failed(self, reason: str, exit_code: ExitCode = ExitCode.FAILURE) -> None:
        """It was begun, and failed."""


class ReplyAnswer:
    """An Answer by a reply to the sender."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def done(self, lines: list[str]) -> None:
        """See `Answer`."""
        self._reply.send(Done(lines))

    def failed(self, reason: str, exit_code: ExitCode = ExitCode.FAILURE) -> None:
        """See `Answer`."""
        self._reply.send(Failed(reason, exit_code))


def refusable(handle: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """A verb's handler that may refuse by raising VerbFailed, having changed nothing."""

    def handler(actor: Any, verb: Any) -> None:
        try:
            handle(actor, verb)
        except VerbFailed as refusal:
            actor.context.reply(Failed(str(refusal), refusal.exit_code))

    return handler


def verb_handler(
    by: Callable[[Any], Callable[[Any, Answer], None]],
) -> Callable[[Any, Any], None]:
    """The handler of a verb that one of the supervisor's parts carries out."""

    def handler(actor: Any, verb: Any) -> None:
        reply = actor.context.reply_handle()
        try:
            by(actor)(verb, ReplyAnswer(reply))
        except VerbFailed as refusal:
            reply.send(Failed(str(refusal), refusal.exit_code))

    return handler
