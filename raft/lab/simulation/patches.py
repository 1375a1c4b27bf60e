"""How a guard is taken out of the production code, in memory, and put back.

Owns the replacement of one attribute. Knows nothing of the guards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from msgspec import Struct

Patch = Callable[[], AbstractContextManager[None]]


class Sabotage(Struct, frozen=True):
    """A guard that can be removed, and the consequence."""

    name: str
    description: str
    patch: Patch


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of `owner` for the duration of the block."""
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
