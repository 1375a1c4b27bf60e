"""Small functions that write SVG: a scale, shapes, text.

Owns the notation. Appearance is the style sheet's: shapes have classes, not colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import floor, log10

from msgspec import Struct


class Scale(Struct, frozen=True):
    """From values to pixels, linearly."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of a value; values outside the scale are put at its edge."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.begin + min(max(share, 0.0), 1.0) * (self.end - self.begin), 2)

    def ticks(self, about: int) -> list[float]:
        """Round values within the scale, about `about` of them."""
        step = round_step((self.high - self.low) / max(about, 1))
        first = -floor(-self.low / step)
        return [round(step * n, 9) for n in range(first, floor(self.high / step + 1e-9) + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... that is not less."""
    if least <= 0:
        return 1.0
    power = 10.0 ** floor(log10(least))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= least * 0.999))


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """One element; `class_` becomes class, `stroke_width` stroke-width.

    Attributes that are None are left out.
    """
    parts = [
        f'{key.rstrip("_").replace("_", "-")}="{escape(_written(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    head = " ".join([name, *parts])
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"


def rect(
    x: float, y: float, width: float, height: float, class_: str, *, tip: str = "", round_: float = 0
) -> str:
    """A box with a tooltip."""
    return element(
        "rect", title(tip), x=x, y=y, width=max(width, 0.0), height=height, rx=round_ or None, class_=class_
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str, tip: str = "") -> str:
    """A straight line."""
    return element("line", title(tip), x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def circle(x: float, y: float, radius: float, class_: str, tip: str = "") -> str:
    """A dot."""
    return element("circle", title(tip), cx=x, cy=y, r=radius, class_=class_)


def text(x: float, y: float, words: str, class_: str = "", anchor: str | None = None) -> str:
    """Text with its base line at `y`."""
    return element("text", escape(words), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> str:
    """A line through points."""
    return element("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in points), class_=class_)


def area(points: Sequence[tuple[float, float]], base: float, class_: str) -> str:
    """The area between a line and its base."""
    if not points:
        return ""
    corners = [(points[0][0], base), *points, (points[-1][0], base)]
    return element("polygon", points=" ".join(f"{x:g},{y:g}" for x, y in corners), class_=class_)


def group(content: Iterable[str], class_: str = "", label: str = "") -> str:
    """Several elements as one, with a label for screen readers."""
    return element("g", "".join(content), class_=class_ or None, aria_label=label or None)


def title(words: str) -> str:
    """A tooltip for the element around it."""
    return f"<title>{escape(words)}</title>" if words else ""


def width_of(words: str, pixels: float = 11.0) -> float:
    """The approximate width of a text at that font size."""
    return 0.56 * pixels * len(words)


def _written(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
