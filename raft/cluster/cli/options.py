"""Arguments and options that several verbs share, each checked as it is read.

Owns their names, help and notation; a wrong one is a usage error that says how to write it.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from raft.cluster.cli import completing
from raft.cluster.events import KINDS
from raft.cluster.failures import BadUsage
from raft.cluster.moments import TimeStyle
from raft.cluster.quantities import (
    parse_duration,
    parse_duration_range,
    parse_positive_duration,
    parse_probability,
)
from raft.cluster.selectors import check_selector
from raft.cluster.views import printable

T = TypeVar("T")


class Format(enum.StrEnum):
    """How structured output is written."""

    TABLE = "table"
    JSON = "json"


class LineFormat(enum.StrEnum):
    """How a stream of events or records is written."""

    LINE = "line"
    JSONL = "jsonl"


def checked(parse: Callable[[str], T]) -> Callable[[str | T], T]:
    """A parser whose refusal is a usage error; what is a value already (a default) is left alone."""

    def parser(text: str | T) -> T:
        if not isinstance(text, str):
            return text
        try:
            return parse(text)
        except BadUsage as refusal:
            raise typer.BadParameter(str(refusal)) from None

    parser.__name__ = "text"  # What help shows as its type.
    return parser


duration = checked(parse_duration)
positive_duration = checked(parse_positive_duration)
duration_range = checked(parse_duration_range)
share = checked(parse_probability)
selector = checked(check_selector)

Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        envvar="RAFT_CLUSTER",
        help="Which cluster, if several run; also before the verb.",
        show_default=False,
    ),
]
Selectors = Annotated[
    list[str],
    typer.Argument(
        metavar="SELECTOR...",
        parser=selector,
        autocompletion=completing.selectors,
        help="3, n3, 1,2,4, leader, followers, all, random or random:2; several words mean all of them.",
    ),
]
Output = Annotated[
    Format, typer.Option("--output", "-o", envvar="RAFT_OUTPUT", help="A table to read, or JSON.")
]
Time = Annotated[
    TimeStyle,
    typer.Option("--time", envvar="RAFT_TIME", help="Moments since the start, by the wall, or how long ago."),
]


def event_kinds(words: list[str] | None) -> frozenset[str] | None:
    """The kinds of events that were named; raises BadUsage for one that is none."""
    unknown = sorted(set(words or ()) - KINDS)
    if unknown:
        raise BadUsage(f"{unknown[0]!r} is no kind of event: choose among {', '.join(sorted(KINDS))}")
    return frozenset(words) if words else None


def one_selector(words: list[str]) -> str:
    """Several selectors as the one that means all of them."""
    return ",".join(words)


def for_terminal(line: str) -> str:
    """A line that is shown as it is to programs, and harmless to a terminal."""
    return printable(line) if sys.stdout.isatty() else line


Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")]
RepairFromPeers = Annotated[
    bool,
    typer.Option(
        "--repair-from-peers",
        help="Put a damaged log aside: the node leaves the cluster, and joins it anew as a learner.",
    ),
]
