"""How a class says which messages it handles, so that a type checker can hold it to that.

Owns two decorators and the type of a message that has an answer. A class's table of handlers is made of
the decorated methods when the class is; one that a subclass overrides is called in its place. Knows
nothing of when a handler is called.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

Answer = TypeVar("Answer")
A = TypeVar("A")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)

Handlers = Mapping[type, Callable[[Any, Any], object]]
_MARK: Final = "__handles__"
_COROUTINE: Final = 0x80  # inspect.CO_COROUTINE; inspect is slow to load, and 1.3 MB in every process.


class Request(msgspec.Struct, Generic[Answer], frozen=True):
    """A message that is asked and answered with an `Answer`: `class Who(Request[Pids], frozen=True)`.

    `ask` then returns a `Pending[Pids]`, and `@answers(Who)` takes only a method that returns Pids.
    """


def handles(kind: type[M]) -> Callable[[Callable[[A, M], Answer]], Callable[[A, M], Answer]]:
    """Let a method handle messages of exactly this type; `async def` where it awaits something."""

    _check(kind)

    def mark(method: Callable[[A, M], Answer]) -> Callable[[A, M], Answer]:
        _mark(method, kind, is_answer=False)
        return method

    return mark


class answers(Generic[M_co]):  # noqa: N801 - used as a decorator
    """Let a method answer a Request: what it returns is the reply. The request may also be told.

    As `handles` for a message without a declared answer, whose reply is then not checked.
    """

    def __init__(self, kind: type[M_co]) -> None:
        _check(kind)
        self._kind = kind

    def __call__(
        self: answers[Request[Answer]],
        method: Callable[[A, M_co], Answer | Coroutine[Any, Any, Answer]],
    ) -> Callable[[A, M_co], Answer | Coroutine[Any, Any, Answer]]:
        """Mark the method."""
        _mark(method, self._kind, is_answer=True)
        return method


def _check(kind: object) -> None:
    if not isinstance(kind, type):
        raise TypeError(f"a handler is for a type of messages, not for {kind!r}")


def _mark(method: object, kind: type, *, is_answer: bool) -> None:
    setattr(method, _MARK, (kind, is_answer))


def collect(actor: type) -> dict[type, Callable[[Any, Any], object]]:
    """The table that a class's decorated methods make, its bases' included; raises TypeError on a clash."""
    table: dict[type, tuple[str, Callable[[Any, Any], object]]] = {}
    seen: set[str] = set()
    for base in reversed(actor.__mro__):
        for name, method in vars(base).items():
            if not hasattr(method, _MARK) or name in seen:
                continue
            seen.add(name)
            kind, is_answer = getattr(method, _MARK)
            used = next(vars(each)[name] for each in actor.__mro__ if name in vars(each))
            if hasattr(used, _MARK):
                kind, is_answer = getattr(used, _MARK)
            if kind in table and table[kind][0] in vars(base):
                first = table[kind][0]
                raise TypeError(f"{actor.__qualname__} handles {kind.__qualname__} by {first} and by {name}")
            table[kind] = (name, _answering(used) if is_answer else used)
    return {kind: function for kind, (_, function) in table.items()}


def is_coroutine_function(function: object) -> bool:
    """Is it an `async def`? As inspect has it, without what makes that slow."""
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _COROUTINE)


def _answering(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], object]:
    if is_coroutine_function(method):

        async def answer_later(actor: Any, message: Any) -> None:
            actor.context.reply(await method(actor, message))

        return answer_later

    def answer(actor: Any, message: Any) -> None:
        actor.context.reply(method(actor, message))

    return answer
