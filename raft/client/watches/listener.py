"""The actor in a client's process that receives messages which nodes push.

Owns their way to the channels, and the detection of nodes that are gone or silent. Knows nothing of the
events.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from msgspec import Struct

from actors.actor import Actor, Handlers
from actors.address import Address
from actors.envelope import ProcessDown, ProcessUp
from actors.runtime import Runtime
from raft.client.watches.channels import Channels
from raft.protocol.client import LeaseProbe, WatchEnded, WatchEvents
from raft.protocol.registry import CLIENT_ACTOR, address_of, node_of, process_of

SILENCE_SECONDS_MAX = 2.5  # A node confirms an open watch at least twice in this time.


def listen(runtime: Runtime) -> Channels:
    """The channels of a client's process, and the actor that receives for them."""

    def attend(node: int) -> None:
        runtime.tell(Address(runtime.name, CLIENT_ACTOR), WatchNode(node))

    channels = Channels(lambda node, message: runtime.tell(address_of(node), message), attend)
    runtime.spawn(partial(Listener, channels), CLIENT_ACTOR)
    return channels


class WatchNode(Struct, frozen=True):
    """To the listener: report when that node is gone."""

    node: int


class WakeWaiters(Struct, frozen=True):
    """To the listener: an iterator was cancelled; wake all."""


class Listener(Actor):
    """Receives the messages that nodes push."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._looking = False

    def on_still_there(self, message: LeaseProbe) -> None:
        """The node confirms the connection; nothing else to do."""

    def on_told(self, message: WatchEvents) -> None:
        """A node sends events."""
        self._channels.told(self._sender(), message)

    def on_ended(self, message: WatchEnded) -> None:
        """A node has ended a watch."""
        self._channels.ended(self._sender(), message)

    def on_watch_node(self, message: WatchNode) -> None:
        """A node is about to serve a watch."""
        self.context.watch_process(process_of(message.node))
        if not self._looking:
            self._looking = True
            self.context.every(SILENCE_SECONDS_MAX, self._channels.look)

    def on_process_down(self, event: ProcessDown) -> None:
        """A node is gone."""
        self._channels.node_down(node_of(event.process))

    def _sender(self) -> int:
        sender = self.context.sender
        return 0 if sender is None else node_of(sender.process)

    handlers: ClassVar[Handlers] = {
        WatchNode: on_watch_node,
        WakeWaiters: lambda self, _message: self._channels.wake(),
        LeaseProbe: on_still_there,
        WatchEvents: on_told,
        WatchEnded: on_ended,
        ProcessDown: on_process_down,
        ProcessUp: lambda _self, _event: None,
    }
