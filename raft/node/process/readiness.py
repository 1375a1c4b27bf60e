"""Telling the service manager how far the node is: ready when a read through it was answered; stopping.

Owns systemd's protocol (sd_notify: NOTIFY_SOCKET, READY=1, STOPPING=1), which others understand, too. Knows
nothing of how a read is answered.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import ClassVar

from actors.actor import Actor, Handlers
from raft.machines.codec import encode_question
from raft.machines.commands import Get
from raft.protocol.client import Query, QueryResult
from raft.protocol.registry import address_of

AGAIN_SECONDS = 0.1
ASK_SECONDS = 2.0
QUESTION = Query(encode_question(Get(b"ready")))


def is_wanted() -> bool:
    """Does a service manager want to be told?"""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Tell the service manager; without one, or if it does not listen, nothing happens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)


class Readiness(Actor):
    """Says READY=1 once: a linearizable read through this node was answered.

    So it knows a leader whom a quorum follows, and has applied all that was committed when it asked.
    """

    def __init__(self, node: int) -> None:
        self._node = node

    def on_start(self) -> None:
        """Begin to ask."""
        self._ask()

    def _ask(self) -> None:
        pending = self.context.ask(address_of(self._node), QUESTION, ASK_SECONDS)
        pending.then(self._answered, lambda _failure: self._ask_later())

    def _answered(self, answer: object) -> None:
        if isinstance(answer, QueryResult):
            notify("READY=1")
        else:
            self._ask_later()

    def _ask_later(self) -> None:
        self.context.after(AGAIN_SECONDS, self._ask)

    handlers: ClassVar[Handlers] = {}
