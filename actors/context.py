"""What an actor can do: everything it may ask of its runtime.

Owns the methods that actors call. The work is done by the runtime and the actor's cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from actors.address import Address
from actors.clock import Clock
from actors.supervision import Restart

if TYPE_CHECKING:
    from actors.actor import Actor, Handlers
    from actors.asks import Pending, Reply
    from actors.timers import Timer


class Context:
    """An actor's access to its runtime; only for the runtime's own thread, `post` excepted."""

    address: Address

    @property
    def sender(self) -> Address | None:
        """Who told the message that is being handled; None when it was the runtime, or a timer."""
        raise NotImplementedError

    @property
    def clock(self) -> Clock:
        """The runtime's clock."""
        raise NotImplementedError

    def now(self) -> float:
        """Monotonic seconds."""
        raise NotImplementedError

    def tell(self, to: Address, message: object) -> None:
        """Send a message: at most once, in order with what this actor told `to` before."""
        raise NotImplementedError

    def ask(self, to: Address, message: object, timeout_seconds: float) -> Pending:
        """Send a message that wants a reply.

        Fails with AskTimeout, or earlier with TargetDown or Undeliverable. The callbacks given to
        `Pending.then` run like handlers of this actor, and not at all once it has crashed or stopped.
        """
        raise NotImplementedError

    def reply(self, message: object) -> None:
        """Answer the message that is being handled; a tell to its sender when it was not an ask."""
        raise NotImplementedError

    def reply_handle(self) -> Reply:
        """The right to answer the message that is being handled, later."""
        raise NotImplementedError

    def after(self, seconds: float, what: object) -> Timer:
        """Once, after so many seconds: call `what`, or, if it can't be called, tell it to this actor."""
        raise NotImplementedError

    def every(self, seconds: float, what: object) -> Timer:
        """Like `after`, again and again. Firings that were missed are skipped, not made up for."""
        raise NotImplementedError

    def post(self, message: object) -> None:
        """Tell this actor from another thread; never refused for a full mailbox."""
        raise NotImplementedError

    def spawn(
        self,
        factory: Callable[[], Actor],
        name: str,
        *,
        restart: Restart | None = None,
        mailbox_messages_max: int | None = None,
    ) -> Address:
        """Start a child, named below this actor; `factory` is called for each of its lives."""
        raise NotImplementedError

    def stop(self, address: Address | None = None) -> None:
        """Stop a child for good, or, without an address, this actor once the present message is handled."""
        raise NotImplementedError

    def watch(self, address: Address) -> None:
        """Be told Terminated when that actor is gone: at once, if it never was."""
        raise NotImplementedError

    def unwatch(self, address: Address) -> None:
        """Take back `watch`."""
        raise NotImplementedError

    def watch_process(self, process: str) -> None:
        """Be told ProcessUp and ProcessDown; ProcessUp at once, if it is up."""
        raise NotImplementedError

    def unwatch_process(self, process: str) -> None:
        """Take back `watch_process`."""
        raise NotImplementedError

    def become(self, handlers: Handlers) -> None:
        """Handle messages by another table from the next one on."""
        raise NotImplementedError

    def unbecome(self) -> None:
        """Return to the actor's own table."""
        raise NotImplementedError

    def stash(self) -> None:
        """Put the message that is being handled aside, to be handled after `unstash_all`."""
        raise NotImplementedError

    def unstash_all(self) -> None:
        """Handle what was put aside next, in the order in which it came."""
        raise NotImplementedError

    def connect(self, process: str, endpoint: str, public_key: bytes | None = None) -> None:
        """Keep a connection to a process; see Transport.connect."""
        raise NotImplementedError

    def disconnect(self, process: str) -> None:
        """Forget the connection to a process."""
        raise NotImplementedError

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback`, like a handler of this actor, while `fd` is readable; ends with this life."""
        raise NotImplementedError

    def remove_reader(self, fd: int) -> None:
        """Forget `fd`."""
        raise NotImplementedError

    def inspect_transport(self) -> Mapping[str, Any]:
        """The transport's counters."""
        raise NotImplementedError
