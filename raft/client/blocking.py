"""Blocking twins of asyncio methods, so that each call is written once.

Owns the running of a coroutine that never suspends. The asyncio methods of keys, leases and recipes await
nothing but a few methods of the object they work on; given an object on which those block, they run to their
end at once, without an event loop. A twin has the signature and the docstring of its method, and works on
`self.unsuspended`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Result = TypeVar("Result")
Target = TypeVar("Target")
P = ParamSpec("P")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    work.close()
    raise RuntimeError(f"{work} has suspended: it awaits more than the calls of a blocking client")


def blocking(
    method: Callable[Concatenate[Target, P], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Any, P], Result]:
    """The blocking twin of an asyncio method."""

    @wraps(method)
    def twin(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return run(method(self.unsuspended, *args, **kwargs))

    return twin


def blocking_iterator(
    method: Callable[Concatenate[Target, P], AsyncIterator[Result]],
) -> Callable[Concatenate[Any, P], Iterator[Result]]:
    """The blocking twin of an asynchronous generator method."""

    @wraps(method)
    def twin(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Result]:
        items = method(self.unsuspended, *args, **kwargs)
        while True:
            try:
                item = run(_next(items))
            except StopAsyncIteration:
                return
            yield item

    return twin


async def _next(items: AsyncIterator[Result]) -> Result:
    return await anext(items)
