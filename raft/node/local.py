"""What a node is told by its own process and by itself; none of it ever travels.

Owns these messages only.
"""

from __future__ import annotations

from msgspec import Struct


class Leave(Struct, frozen=True):
    """Hand leadership over, answer what can be answered, and end."""


class ContinueTurn(Struct, frozen=True):
    """There is more to carry out than one turn should."""
