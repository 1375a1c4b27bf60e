"""Messages to a node from its own process and from itself; they are never sent to others.

Owns these messages only.
"""

from __future__ import annotations

from msgspec import Struct


class Leave(Struct, frozen=True):
    """Hand leadership over, answer what can be answered, and end."""


class ContinueTurn(Struct, frozen=True):
    """There is more to do than one turn should."""
