"""The common part of all panels of the main drawing: content from zero down, height, margins.

Owns the margins that all panels share, so that they line up.
"""

from __future__ import annotations

from msgspec import Struct

from raft.lab.reports.svg import text

WIDTH = 1160
LEFT = 92
RIGHT = 20


class Panel(Struct, frozen=True, kw_only=True):
    """`above` is the space for its heading."""

    content: str
    height: float
    above: float = 0.0


def heading(words: str) -> str:
    """The name of a panel, above its first row."""
    return text(LEFT, -8, words, "heading stays")


def label(y: float, words: str, class_: str = "label") -> str:
    """The name of a row, left of it."""
    return text(LEFT - 12, y, words, f"{class_} stays", "end")
