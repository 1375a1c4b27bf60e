"""The loop of a process: poll, deliver, run actors, fire timers, send.

Owns the order of a turn. One thread; actors run to completion.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from actors.actor import Actor
from actors.address import Address
from actors.asks import Pending
from actors.clock import Clock
from actors.codec import Registry
from actors.envelope import ActorInfo
from actors.supervision import Restart, RestartPolicy
from actors.transport import Transport

MAILBOX_MESSAGES_MAX = 10_000


class Runtime:
    """The actors of one process, and the thread that runs them."""

    def __init__(
        self,
        name: str,
        *,
        transport: Transport,
        registry: Registry,
        clock: Clock | None = None,
        random: random.Random | None = None,
        supervision: RestartPolicy | None = None,
        mailbox_messages_max: int = MAILBOX_MESSAGES_MAX,
    ) -> None:
        raise NotImplementedError

    def spawn(
        self,
        factory: Callable[[], Actor],
        name: str,
        *,
        restart: Restart | None = None,
        mailbox_messages_max: int | None = None,
    ) -> Address:
        """Start an actor at the top; its `on_start` runs in the next turn."""
        raise NotImplementedError

    def tell(self, to: Address, message: object) -> None:
        """Send a message from nobody."""
        raise NotImplementedError

    def ask(self, to: Address, message: object, timeout_seconds: float) -> Pending:
        """Send a message that wants a reply; see `run_until`."""
        raise NotImplementedError

    def post(self, to: Address, message: object) -> None:
        """Send a message from another thread; wakes the loop."""
        raise NotImplementedError

    def run(self) -> None:
        """Turn until `stop` was called and every actor has stopped; raises GaveUp when the top gave up."""
        raise NotImplementedError

    def run_turn(self, timeout_seconds: float | None = 0.0) -> int:
        """One turn, waiting at most so long for something to do; the number of messages handled."""
        raise NotImplementedError

    def run_until(self, done: Callable[[], bool] | Pending, timeout_seconds: float) -> bool:
        """Turn until `done`; False when the time was up first."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop every actor, children first, send what they told last, and end `run`. From any thread."""
        raise NotImplementedError

    def inspect(self, actor: str) -> ActorInfo:
        """A running actor seen from outside; raises UnknownActor."""
        raise NotImplementedError
