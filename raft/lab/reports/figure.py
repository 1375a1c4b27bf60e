"""The main drawing: leaders, nodes, faults and clients above each other, on one time axis.

Owns the layout: the place of each panel, and the common axis.
"""

from __future__ import annotations

from msgspec import Struct

from raft.lab.reports import charts, nodes
from raft.lab.reports.lanes import Picture
from raft.lab.reports.panel import LEFT, RIGHT, WIDTH, Panel
from raft.lab.reports.run import Run
from raft.lab.reports.svg import Scale, element, group, line, text

GAP = 22
AXIS = 26
TICKS = 12


class Figure(Struct, frozen=True):
    """A drawing and its height."""

    content: str
    height: float

    def as_svg(self, style: str = "") -> str:
        """A complete SVG element; with a `style` sheet it is self-contained."""
        return element(
            "svg",
            (f"<style>{style}</style>" if style else "") + PATTERNS + self.content,
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {WIDTH} {self.height:g}",
            class_="figure",
            role="img",
            aria_label="Timeline of the run",
        )


PATTERNS = (
    "<defs>"
    '<pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect class="stripe" width="3" height="6"/></pattern>'
    "</defs>"
)


def figure_of(run: Run) -> Figure:
    """Draw the run; empty panels are left out."""
    records = run.history.records if run.history is not None else []
    picture = run.picture()
    first = min((event.t for event in run.events), default=0.0)
    x = Scale(min(first, picture.end), picture.end, LEFT, WIDTH - RIGHT)
    panels = [
        nodes.elections_panel(picture, x),
        nodes.lanes_panel(picture, x),
        nodes.faults_panel(picture, x),
    ]
    if records:
        panels += charts.panels(records, x)
    panels = [panel for panel in panels if panel.height]
    return _stacked(panels, picture, x)


def _stacked(panels: list[Panel], picture: Picture, x: Scale) -> Figure:
    parts, y = [], float(AXIS)
    for panel in panels:
        y += panel.above
        parts.append(element("g", panel.content, transform=f"translate(0 {y:g})"))
        y += panel.height + GAP
    bottom = y - GAP + 6
    grid = [line(x(tick), AXIS - 6, x(tick), bottom, "grid") for tick in x.ticks(TICKS)]
    marks = [line(x(election.t), AXIS, x(election.t), bottom, "election") for election in picture.elections]
    labels = [
        text(x(tick), place, f"{tick:g} s", "tick", "middle")
        for tick in x.ticks(TICKS)
        for place in (AXIS - 12, bottom + 14)
    ]
    content = group(grid) + group(marks) + "".join(parts) + group(labels)
    return Figure(content, bottom + 22)
