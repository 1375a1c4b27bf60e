"""Spans of a client's calls, for OpenTelemetry: what was called, which nodes were asked, what came of it.

Owns the spans and their attributes. It replaces methods of one client, so that a client that is not traced
pays nothing; nodes know nothing of it. Which calls are sampled is the tracer provider's decision; a call that
is not costs one span that records nothing. Keys and values are never recorded. What locks, elections and
sessions of a blocking client do by a connection of their own is not traced.

Needs the extra `otel`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from actors.errors import AskFailed
from raft.client.asyncio_calls import AsyncCalls
from raft.client.calls.steps import Ask, Outcome, Request, Step, Wait
from raft.protocol.client import NotLeader, WhoLeads

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from raft.client.asyncio_client import AsyncClient
    from raft.client.client import Client

SYSTEM: Final = "raft-actors"
INSTRUMENTATION: Final = "raft.client"
# Not a call by itself: what others are made of, a waiting that ends with an event, and what calls nothing.
_UNTRACED: Final = frozenset({"run_call", "await_events", "lease"})

C = TypeVar("C", "Client", "AsyncClient")
Result = TypeVar("Result")


class TelemetryMissing(ImportError):
    """OpenTelemetry's API is not installed."""


def trace_calls(client: C, tracer_provider: TracerProvider | None = None) -> C:
    """Let each call of a client be a span, and return the client; does nothing to one that is traced.

    Without a provider it is the global one's. A span is named as the method (`put`), is a child of the
    current one, and has the attributes `db.system.name`, `db.operation.name`, `raft.attempts`,
    `raft.redirects`, `raft.node` (the last one asked) and, of a call that has failed, `error.type`. Each
    request to a node is an event `ask`, with the kinds of the request and of its answer, and each pause an
    event `wait`. Questions who leads are no attempts. Raises TelemetryMissing.
    """
    try:
        from opentelemetry.trace import get_tracer
    except ImportError:
        raise TelemetryMissing("OpenTelemetry is not installed: pip install 'raft-actors[otel]'") from None

    if "_drive" not in vars(client):
        _Tracing(get_tracer(INSTRUMENTATION, tracer_provider=tracer_provider), client).install()
    return client


class _Call:
    """One call, from its begin to its end, for as long as it is recorded."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.over = False
        self._attempts = 0
        self._redirects = 0
        self._node = 0

    def note_ask(self, node: int, request: Request, outcome: Outcome) -> None:
        """A node was asked, and has answered, or has not."""
        if self.over:
            return  # What a call has begun may outlive it.
        self._attempts += not isinstance(request, WhoLeads)
        self._redirects += isinstance(outcome, NotLeader)
        self._node = node
        kinds = {"raft.request": type(request).__name__, "raft.answer": type(outcome).__name__}
        attributes: dict[str, str | int] = {"raft.node": node, **kinds}
        if isinstance(outcome, AskFailed):
            attributes["raft.reason"] = str(outcome)
        elif isinstance(outcome, NotLeader):
            attributes["raft.leader"] = outcome.leader
        self.span.add_event("ask", attributes)

    def note_wait(self, seconds: float) -> None:
        """No node could be asked with success at once."""
        if not self.over:
            self.span.add_event("wait", {"raft.seconds": seconds})

    def end(self, error: BaseException | None) -> None:
        """Say what came of it."""
        from opentelemetry.trace import Status, StatusCode

        self.over = True
        self.span.set_attributes({"raft.attempts": self._attempts, "raft.redirects": self._redirects})
        if self._node:
            self.span.set_attribute("raft.node", self._node)
        if error is not None:
            self.span.set_attribute("error.type", type(error).__name__)
            self.span.set_status(Status(StatusCode.ERROR, str(error)))
        self.span.end()


class _Tracing:
    """What takes the place of one client's methods."""

    def __init__(self, tracer: Tracer, client: Any) -> None:
        from opentelemetry.context import create_key

        self._tracer = tracer
        self._client = client
        self._key = create_key("raft.client.call")

    def install(self) -> None:
        """Replace the calls, and what asks the nodes for them."""
        client = self._client
        is_async = isinstance(client, AsyncCalls)
        client._drive = self._driving(client._drive, notes_asks=not is_async)
        if is_async:
            client._ask = self._asking(client._ask)
        for name, _ in inspect.getmembers(AsyncCalls, inspect.iscoroutinefunction):
            if not name.startswith("_") and name not in _UNTRACED:
                wrap = self._coroutine if is_async else self._function
                setattr(client, name, wrap(name, getattr(client, name)))

    def _current(self) -> _Call | None:
        from opentelemetry.context import get_value

        call = cast("_Call | None", get_value(self._key))
        return None if call is None or call.over else call

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        """A call is the current one; what it calls of the same client is part of it."""
        from opentelemetry.context import attach, detach, set_value
        from opentelemetry.trace import SpanKind, set_span_in_context

        if self._current() is not None:
            yield
            return
        attributes = {"db.system.name": SYSTEM, "db.operation.name": name}
        call = _Call(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))
        token = attach(set_value(self._key, call, set_span_in_context(call.span)))
        try:
            yield
        except BaseException as error:
            call.end(error)
            raise
        else:
            call.end(None)
        finally:
            detach(token)

    def _coroutine(
        self, name: str, method: Callable[..., Coroutine[Any, Any, Result]]
    ) -> Callable[..., Coroutine[Any, Any, Result]]:
        @wraps(method)
        async def traced(*args: Any, **kwargs: Any) -> Result:
            with self._span(name):
                return await method(*args, **kwargs)

        return traced

    def _function(self, name: str, method: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(method)
        def traced(*args: Any, **kwargs: Any) -> Result:
            with self._span(name):
                return method(*args, **kwargs)

        return traced

    def _asking(
        self, ask: Callable[..., Coroutine[Any, Any, Outcome]]
    ) -> Callable[..., Coroutine[Any, Any, Outcome]]:
        async def noted(node: int, request: Request, *args: Any) -> Outcome:
            outcome = await ask(node, request, *args)
            call = self._current()
            if call is not None:
                call.note_ask(node, request, outcome)
            return outcome

        return noted

    def _driving(self, drive: Callable[..., Result], *, notes_asks: bool) -> Callable[..., Result]:
        def driven(steps: Generator[Step, Outcome, Any]) -> Result:
            call = self._current()
            return drive(steps if call is None else _noted(steps, call, notes_asks))

        return driven


def _noted(
    steps: Generator[Step, Outcome, Result], call: _Call, notes_asks: bool
) -> Generator[Step, Outcome, Result]:
    """The same steps. They may be taken in another thread than the call's."""
    outcome: Outcome = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration as end:
            result: Result = end.value
            return result
        outcome = yield step
        if isinstance(step, Wait):
            call.note_wait(step.seconds)
        elif isinstance(step, Ask) and notes_asks:
            call.note_ask(step.node, step.request, outcome)
