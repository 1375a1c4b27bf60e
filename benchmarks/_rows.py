"""What every measurement prints: a row for each figure, with what it is held against.

Owns the row and its two forms. Knows nothing of how a figure came about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from msgspec import Struct, structs


class Row(Struct, frozen=True):
    """One figure; `at_most` is what it should not exceed."""

    what: str
    figure: float
    unit: str
    at_most: float

    def line(self) -> str:
        """The row for people."""
        return f"{self.what:<34}{self.figure:>10.3f} {self.unit:<3} (at most {self.at_most:g})"


def tell(rows: Iterable[Row], output: str) -> int:
    """Print rows as they come, or all of them as JSON; 1 if any is over what it should be."""
    told: list[Row] = []
    for row in rows:
        told.append(row)
        if output == "text":
            print(row.line(), flush=True)
    if output == "json":
        print(json.dumps({"v": 1, "rows": [structs.asdict(row) for row in told]}, indent=2))
    return int(any(row.figure > row.at_most for row in told))
