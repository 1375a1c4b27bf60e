"""The messages on their way, in one list over all nodes.

Owns their order and what may happen to them: taken for delivery, lost, doubled, reversed. What a node sends
to itself, or exchanges with its own storage threads, is local: it is never lost, doubled or reversed.
"""

import copy
from collections.abc import Callable, Sequence

from raft.core.messages import Message
from raft.core.types import APPEND_THREAD, APPLY_THREAD, NodeId
from tests.transcripts.describe import source

THREADS = (APPEND_THREAD, APPLY_THREAD)


def is_local(message: Message) -> bool:
    """Whether it counts as never leaving the node."""
    sender = source(message)
    return sender == message.to or sender in THREADS or message.to in THREADS


class Network:
    """Undelivered messages, oldest first."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def send(self, *messages: Message) -> None:
        self._messages.extend(messages)

    def has_messages(self, to: NodeId) -> bool:
        return any(message.to == to for message in self._messages)

    def take(self, wanted: Callable[[Message], bool]) -> list[Message]:
        """Remove the messages that are wanted; their order stays, and that of the rest too."""
        taken = [message for message in self._messages if wanted(message)]
        self._messages = [message for message in self._messages if not wanted(message)]
        return taken

    def duplicate(self, to: NodeId) -> bool:
        """Append a copy of each remote message to a node. False if there are none."""
        # A core may rewrite the recipient of what it forwards, so each copy is a message of its own.
        copies = [copy.copy(self._messages[at]) for at in self._remote(to)]
        self._messages += copies
        return bool(copies)

    def reverse(self, to: NodeId) -> bool:
        """Turn round the remote messages to a node, among the places they hold. False if there are none."""
        places = self._remote(to)
        self._put(places, [self._messages[at] for at in reversed(places)])
        return bool(places)

    def forget_local(self, to: NodeId) -> None:
        """A crash: what the node had under way to itself is gone."""
        self._messages = [m for m in self._messages if m.to != to or not is_local(m)]

    def _remote(self, to: NodeId) -> list[int]:
        return [at for at, message in enumerate(self._messages) if message.to == to and not is_local(message)]

    def _put(self, places: Sequence[int], messages: Sequence[Message]) -> None:
        for place, message in zip(places, messages, strict=True):
            self._messages[place] = message
