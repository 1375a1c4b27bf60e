"""Asks that are made again, of the same target or of another one, until one of them is answered.

Owns the rule: what never reached its target is asked again for a while, what a target had in its hands
when it died only as often as the caller allows, and nothing else. Knows nothing of who is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from actors.address import Address
from actors.asks import Pending, Runner
from actors.clock import Clock
from actors.errors import AskFailed, AskTimeout, NoWorkers, TargetDown, Undeliverable
from actors.timers import Timer, Timers

if TYPE_CHECKING:
    from actors.delivery import Delivery

AGAIN_SECONDS: Final = 0.02
UNDELIVERABLE_SECONDS_MAX: Final = 10.0
"""For how long an ask that reaches no actor is made again, if its own time is not up before."""


class Asker:
    """On whose behalf asks are made: an actor's incarnation, or the runtime itself."""

    def __init__(
        self,
        office: Delivery,
        sender: Address,
        clock: Clock,
        timers: Timers,
        run: Runner,
        asks: set[Pending[Any]] | None = None,
        timer_group: set[Timer] | None = None,
    ) -> None:
        self._office = office
        self._sender = sender
        self._clock = clock
        self._timers = timers
        self._timer_group = timer_group
        self.run = run
        self.asks = asks

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.now()

    def tell(self, to: Address, message: object) -> None:
        """Send a message."""
        self._office.tell(self._sender, to, message)

    def ask(self, to: Address, message: object, timeout_seconds: float | None) -> Pending[Any]:
        """Ask once; its callbacks are called at once, and not in anyone's turn."""
        return self._office.ask(self._sender, to, message, timeout_seconds)

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call something later, likewise."""
        return self._timers.at(self._clock.now() + seconds, call, group=self._timer_group)


class Attempts:
    """One ask as its caller sees it, and the asks that are made for it, one after another."""

    def __init__(
        self,
        asker: Asker,
        message: object,
        timeout_seconds: float | None,
        *,
        choose: Callable[[], Address],
        retries: int = 0,
        ended: Callable[[Address], None] | None = None,
    ) -> None:
        """`choose` says whom to ask next, or raises NoWorkers; `ended` hears of each attempt's end."""
        now = asker.now()
        self._asker = asker
        self._message = message
        self._choose = choose
        self._ended = ended
        self._retries = retries
        self._deadline = math.inf if timeout_seconds is None else now + timeout_seconds
        self._give_up_at = min(self._deadline, now + UNDELIVERABLE_SECONDS_MAX)
        self._attempt: Pending[Any] | None = None
        self._timer: Timer | None = None
        self.pending: Pending[Any] = Pending(
            self, 0, Address("", ""), timeout_seconds, self._deadline, asker.run, asker.asks
        )
        self._try()

    def forget(self, pending: Pending[Any]) -> None:
        """The caller has lost interest."""
        del pending
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            attempt.cancel()
            self._note_end(attempt.target)

    def _try(self) -> None:
        try:
            target = self._choose()
        except Undeliverable as failure:
            self._fail(failure)
            return
        left_seconds = None if self._deadline == math.inf else self._deadline - self._asker.now()
        self.pending.target = target
        self._attempt = self._asker.ask(target, self._message, left_seconds)
        self._attempt.then(self._answered, self._failed)

    def _answered(self, reply: Any) -> None:
        self._attempt = None
        self._note_end(self.pending.target)
        self.pending.end(reply, None)

    def _failed(self, failure: AskFailed) -> None:
        self._attempt = None
        self._note_end(self.pending.target)
        if isinstance(failure, TargetDown) and self._retries > 0:
            self._retries -= 1
            self._give_up_at = min(self._deadline, self._asker.now() + UNDELIVERABLE_SECONDS_MAX)
            self._again()
        else:
            self._fail(failure)

    def _fail(self, failure: AskFailed) -> None:
        if isinstance(failure, Undeliverable) and not isinstance(failure, NoWorkers):
            if self._asker.now() + AGAIN_SECONDS < self._give_up_at:
                self._again()
                return
            if self._give_up_at == self._deadline:
                failure = AskTimeout(
                    f"nothing was asked within {self.pending.timeout_seconds:g} s: {failure}"
                )
        self.pending.end(None, failure)

    def _again(self) -> None:
        self._timer = self._asker.after(AGAIN_SECONDS, self._try)

    def _note_end(self, target: Address) -> None:
        if self._ended is not None:
            self._ended(target)
