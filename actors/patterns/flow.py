"""Work that is pulled: a quick producer waits for a slow consumer, and work flows through stages.

Owns credit. It is the number of asks that may be open from one actor to another: the consumer gives it
back by answering, when it is done with what it got, and what is lost on the way fails instead of being
waited for. A pipeline is a chain of such stages, each in its own process; a message is answered by its
last stage, so that at most a window of them are anywhere in it.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from actors.actor import Actor
from actors.address import Address
from actors.asks import Pending, Reply
from actors.envelope import ProcessUp
from actors.errors import ActorsError, AskFailed
from actors.patterns.pool import map_asks

if TYPE_CHECKING:
    from actors.context import Context
    from actors.processes.system import ProcessSystem

WINDOW: Final = 16
CONNECT_SECONDS_MAX: Final = 10.0  # So long a stage waits for the next one to be reached for the first time.


class Outlet:
    """The producer's end of a stream to one consumer, which any actor is that answers what it is asked.

    `offer` sends what there is credit for; `feed` takes from an iterator as credit comes back. It belongs to
    the incarnation of the actor that made it.
    """

    def __init__(
        self,
        context: Context,
        to: Address,
        *,
        window: int = WINDOW,
        timeout_seconds: float | None = None,
        on_reply: Callable[[Any], object] | None = None,
        on_failure: Callable[[object, AskFailed], object] | None = None,
    ) -> None:
        """`on_failure` is called with a message that was not answered, and why; without it, it is raised."""
        if window < 1:
            raise ValueError(f"a window lets at least one message through, not {window}")
        self._context = context
        self._to = to
        self._window = window
        self._timeout_seconds = timeout_seconds
        self._on_reply = on_reply
        self._on_failure = on_failure
        self._open = 0
        self._sources: deque[tuple[Iterator[object], Callable[[], object] | None]] = deque()

    @property
    def credit(self) -> int:
        """How many messages may be sent now."""
        return self._window - self._open

    def offer(self, message: object) -> bool:
        """Send a message if there is credit; False, and nothing sent, when there is none."""
        if self._open >= self._window:
            return False
        pending = self._context.ask(self._to, message, self._timeout_seconds)
        self._open += 1
        pending.then(self._answered, partial(self._failed, message))
        return True

    def feed(self, messages: Iterable[object], on_end: Callable[[], object] | None = None) -> None:
        """Send all of them, as fast as the consumer takes them; `on_end` is called when none is left to send.

        What was fed before goes first.
        """
        self._sources.append((iter(messages), on_end))
        self._pump()

    def _pump(self) -> None:
        while self._sources and self._open < self._window:
            source, on_end = self._sources[0]
            try:
                message = next(source)
            except StopIteration:
                self._sources.popleft()
                if on_end is not None:
                    on_end()
                continue
            self.offer(message)

    def _answered(self, reply: object) -> None:
        self._open -= 1
        if self._on_reply is not None:
            self._on_reply(reply)
        self._pump()

    def _failed(self, message: object, failure: AskFailed) -> None:
        self._open -= 1
        if self._on_failure is None:
            raise failure
        self._on_failure(message, failure)
        self._pump()


class Stage(Actor):
    """One step of a pipeline: calls a function with each message, and passes on what it returns."""

    def __init__(self, step: str, to: Address | None = None, timeout_seconds: float | None = None) -> None:
        self._step = find_step(step)
        self._to = to
        self._timeout_seconds = timeout_seconds
        self._connected = to is None
        # Its own, as each step takes other messages.
        vars(self)["handlers"] = {
            **dict.fromkeys(kinds_of(self._step), type(self).on_message),
            ProcessUp: Stage.on_process_up,
        }

    def on_start(self) -> None:
        """Find the next stage. Messages wait until it has been reached once, or had its time for that."""
        if self._to is not None:
            self.context.watch_process(self._to.process)
            self.context.after(CONNECT_SECONDS_MAX, self._go_on)

    def on_process_up(self, _up: ProcessUp) -> None:
        """The next stage is there."""
        self._go_on()

    def _go_on(self) -> None:
        if not self._connected:
            self._connected = True
            self.context.unstash_all()

    def on_message(self, message: object) -> Any:
        """Do one step; the reply is what the steps behind it make of it."""
        if not self._connected:
            self.context.stash()
            return
        self._pass_on(self.context.reply_handle(), self._step(message))

    def _pass_on(self, reply: Reply, result: object) -> None:
        if self._to is None:
            reply.send(result)
            return
        pending = self.context.ask(self._to, result, self._timeout_seconds)
        pending.then(reply.send, lambda failure: reply.refuse(str(failure)))


class AsyncStage(Stage):
    """One whose step is an `async def`; its process has an asyncio loop."""

    async def on_message(self, message: object) -> None:
        """Do one step."""
        if not self._connected:
            self.context.stash()
            return
        reply = self.context.reply_handle()
        self._pass_on(reply, await self._step(message))


class Pipeline:
    """Stages in processes of their own; see ProcessSystem.spawn_pipeline."""

    def __init__(self, system: ProcessSystem, stages: tuple[Address, ...], window: int) -> None:
        if window < 1:
            raise ValueError(f"a window lets at least one message through, not {window}")
        self._system = system
        self._window = window
        self.stages = stages

    def submit(self, message: object, timeout_seconds: float | None = None) -> Pending[Any]:
        """Put one message in, whatever else is there; ends with the last stage's result."""
        return self._system.runtime.ask(self.stages[0], message, timeout_seconds)

    def map(self, messages: Iterable[object], *, timeout_seconds: float | None = None) -> Iterator[Any]:
        """The last stage's results, in the order of the messages; raises AskFailed for one that has failed.

        Messages are taken from their iterator as there is room, and no sooner.
        """
        self._system.wait_for(self.stages[0].process)
        submit = partial(self.submit, timeout_seconds=timeout_seconds)
        return map_asks(self._system, submit, messages, window=lambda: self._window)


def find_step(name: str) -> Callable[[Any], Any]:
    """The function of that name, `package.module:function`. Only for names from one's own parent."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    step: Callable[[Any], Any] = found
    return step


def kinds_of(step: Callable[..., Any]) -> tuple[type, ...]:
    """The types of messages that a step declares to take: one, or a union of several. Raises ActorsError."""
    parameters = list(signature(step).parameters)
    declared = get_type_hints(step).get(parameters[0]) if parameters else None
    kinds = getattr(declared, "__args__", None) or (declared,)
    if not all(isinstance(kind, type) for kind in kinds):
        raise ActorsError(
            f"the step {step.__qualname__} does not say which messages it takes: annotate its first parameter"
            " with their type"
        )
    return tuple(kinds)
