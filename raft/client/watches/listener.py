"""The actor of a client's process to which nodes say what they were not asked for each time.

Owns the way from there to the channels, and the noticing of nodes that are gone or silent. Knows nothing of
what is told.
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
from raft.protocol.client import StillThere, WatchEnded, WatchTold
from raft.protocol.registry import GUEST_ACTOR, address_of, node_of, process_of

SILENCE_SECONDS_MAX = 2.5  # At least twice in this time a node says of a watch that it stands.


def listen(runtime: Runtime) -> Channels:
    """The channels of a client's process, and the actor that hears for them."""

    def attend(node: int) -> None:
        runtime.tell(Address(runtime.name, GUEST_ACTOR), Attend(node))

    channels = Channels(lambda node, message: runtime.tell(address_of(node), message), attend)
    runtime.spawn(partial(Listener, channels), GUEST_ACTOR)
    return channels


class Attend(Struct, frozen=True):
    """To the listener: notice when that node is gone."""

    node: int


class LookAgain(Struct, frozen=True):
    """To the listener: somebody who waits does not want to any more."""


class Listener(Actor):
    """Hears what nodes say unasked."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._looking = False

    def on_still_there(self, message: StillThere) -> None:
        """The node has seen that the connection stands: that was all."""

    def on_told(self, message: WatchTold) -> None:
        """A node tells what has happened."""
        self._channels.told(self._sender(), message)

    def on_ended(self, message: WatchEnded) -> None:
        """A node tells nothing more to a watch."""
        self._channels.ended(self._sender(), message)

    def on_attend(self, message: Attend) -> None:
        """A node tells of a watch from now on."""
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
        Attend: on_attend,
        LookAgain: lambda self, _message: self._channels.wake(),
        StillThere: on_still_there,
        WatchTold: on_told,
        WatchEnded: on_ended,
        ProcessDown: on_process_down,
        ProcessUp: lambda _self, _event: None,
    }
