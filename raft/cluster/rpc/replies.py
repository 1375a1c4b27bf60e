"""How a verb is answered, whoever carries it out.

Owns the two ends that a verb can have, and that a refusal becomes an answer. Knows nothing of what
verbs do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors.asks import Reply
from raft.cluster.failures import ExitCode, VerbFailed
from raft.cluster.rpc.messages import Done, Failed

Lines = list[str]


class Answer(Protocol):
    """How a verb's end is told; one of the two, once."""

    def done(self, lines: Lines) -> None:
        """It was carried out."""

    def failed(self, reason: str, exit_code: ExitCode = ExitCode.FAILURE) -> None:
        """It was begun, and did not end well."""


class ReplyAnswer:
    """An Answer to whoever asked."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def done(self, lines: list[str]) -> None:
        """See `Answer`."""
        self._reply.send(Done(lines))

    def failed(self, reason: str, exit_code: ExitCode = ExitCode.FAILURE) -> None:
        """See `Answer`."""
        self._reply.send(Failed(reason, exit_code))


def refusable(handle: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """A verb's handler that may refuse by raising VerbFailed, and then has changed nothing."""

    def handler(actor: Any, verb: Any) -> None:
        try:
            handle(actor, verb)
        except VerbFailed as refusal:
            actor.context.reply(Failed(str(refusal), refusal.exit_code))

    return handler


def carried_out(
    by: Callable[[Any], Callable[[Any, Answer], None]],
) -> Callable[[Any, Any], None]:
    """The handler of a verb that `steering` or `network` carries out."""

    def handler(actor: Any, verb: Any) -> None:
        reply = actor.context.reply_handle()
        try:
            by(actor)(verb, ReplyAnswer(reply))
        except VerbFailed as refusal:
            reply.send(Failed(str(refusal), refusal.exit_code))

    return handler
