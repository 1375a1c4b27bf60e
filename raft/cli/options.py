"""Arguments and options that several verbs share, each checked as it is read.

Owns their names, help and notation. An invalid one is a usage error that says how to write it.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from raft.cli.terminal import completion
from raft.cluster.failures import BadUsage
from raft.cluster.quantities import (
    parse_duration,
    parse_duration_range,
    parse_positive_duration,
    parse_probability,
)
from raft.cluster.records.event_words import printable
from raft.cluster.records.events import KINDS
from raft.cluster.records.timestamps import TimeStyle
from raft.cluster.selectors import check_selector

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
    """A parser whose refusal is a usage error.

    A value that is parsed already (a default) passes unchanged.
    """

    def parser(text: str | T) -> T:
        if not isinstance(text, str):
            return text
        try:
            return parse(text)
        except BadUsage as refusal:
            raise typer.BadParameter(str(refusal)) from None

    parser.__name__ = "text"  # Shown in help as the type.
    return parser


def finite(value: float) -> float:
    """An option's number, of which `min` and `max` alone would let nan pass."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to go by")
    return value


Choice = TypeVar("Choice", bound=enum.StrEnum)
_FOR_PEOPLE, _FOR_PROGRAMS = ("table", "line", "pretty"), ("json", "jsonl")


def one_of(choices: type[Choice]) -> Callable[[str | Choice], Choice]:
    """A parser for the name of an output format.

    One default serves all verbs: json and jsonl mean the same, and so do table, line and pretty.
    """

    def parse(text: str) -> Choice:
        for alike in (_FOR_PEOPLE, _FOR_PROGRAMS):
            if text in alike and text not in list(choices):
                text = next((name for name in alike if name in list(choices)), text)
        if text not in list(choices):
            raise BadUsage(f"{text!r} is not a format of this verb: choose among {', '.join(choices)}")
        return choices(text)

    return checked(parse)


def output_option(choices: type[Choice], help_: str) -> Any:
    """`--output`, with completion."""

    def complete(begun: str) -> list[str]:
        return [name for name in choices if name.startswith(begun)]

    return typer.Option(
        "--output",
        "-o",
        metavar="|".join(choices),
        parser=one_of(choices),
        autocompletion=complete,
        envvar="RAFT_OUTPUT",
        help=help_,
    )


duration = checked(parse_duration)
positive_duration = checked(parse_positive_duration)
duration_range = checked(parse_duration_range)
share = checked(parse_probability)
selector = checked(check_selector)


def duration_option(*names: str, help: str, shown: str = "", zero: bool = False, **settings: Any) -> Any:  # noqa: A002
    """An option that takes a duration; `shown` is its default as typed, `zero` allows none at all."""
    parser = duration if zero else positive_duration
    return typer.Option(
        *names, metavar="DURATION", parser=parser, help=help, show_default=shown or False, **settings
    )


def selector_argument(metavar: str, help: str) -> Any:  # noqa: A002
    """An argument that selects nodes."""
    return typer.Argument(metavar=metavar, parser=selector, autocompletion=completion.selectors, help=help)


Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        autocompletion=completion.clusters,
        envvar="RAFT_CLUSTER",
        help="The cluster, if several are running; also before the verb.",
        show_default=False,
    ),
]
Selectors = Annotated[
    list[str],
    selector_argument(
        "SELECTOR...",
        "3, n3, 1,2,4, leader, followers, all, random or random:2; several words mean all of them.",
    ),
]
Output = Annotated[Format, output_option(Format, "A table, or JSON.")]
Lines = Annotated[LineFormat, output_option(LineFormat, "Lines, or JSON, one object a line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
Time = Annotated[
    TimeStyle,
    typer.Option(
        "--time", envvar="RAFT_TIME", help="Times since the start, on the wall clock, or how long ago."
    ),
]


def event_kinds(words: list[str] | None, known: Collection[str] = KINDS) -> frozenset[str] | None:
    """The named kinds of events, of those that are known; raises BadUsage for another one."""
    unknown = sorted(set(words or ()).difference(known))
    if unknown:
        raise BadUsage(f"{unknown[0]!r} is not a kind of event: choose among {', '.join(sorted(known))}")
    return frozenset(words) if words else None


def endpoints(text: str) -> dict[int, str]:
    """Endpoints of nodes, such as 1=tcp://h1:7001,2=tcp://h2:7001. Raises BadUsage."""
    found: dict[int, str] = {}
    for word in text.split(","):
        node, equals, endpoint = word.strip().partition("=")
        if not (equals and node.isascii() and node.isdecimal() and int(node) and "://" in endpoint):
            raise BadUsage(f"{word!r} is not a node's endpoint: write 1=tcp://host:port,2=tcp://host:port")
        if int(node) in found:
            raise BadUsage(f"node {node} is given twice")
        found[int(node)] = endpoint
    return found


def check_listen_address(text: str) -> str:
    """A host and a port, as in 127.0.0.1:9100 or [::1]:9100. Raises BadUsage."""
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise BadUsage(f"{text!r} is no address: write HOST:PORT, as in 127.0.0.1:9100")
    return text


listen_address = checked(check_listen_address)


def check_web_address(text: str) -> str:
    """A port on this machine alone, as in 8080, or a host and a port. Raises BadUsage."""
    return check_listen_address(f"127.0.0.1:{text}" if text.isdecimal() else text)


web_address = checked(check_web_address)


def node_ids(text: str) -> set[int]:
    """Ids of nodes, such as 1,n2; none for "". Raises BadUsage."""
    found = set()
    for word in filter(None, text.split(",")):
        number = word.strip().removeprefix("n")
        if not (number.isascii() and number.isdecimal()):
            raise BadUsage(f"{word!r} is not a node's id")
        found.add(int(number))
    return found


def one_selector(words: list[str]) -> str:
    """Several selectors as one that means all of them."""
    return ",".join(words)


def for_terminal(line: str) -> str:
    """A line made harmless for a terminal; unchanged for programs."""
    return printable(line) if sys.stdout.isatty() else line


NewDataDir = Annotated[Path, typer.Option(metavar="DIR", help="New or empty; created if necessary.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Continue with new ones.")]
RepairFromPeers = Annotated[
    bool,
    typer.Option(
        "--repair-from-peers",
        help="Put a damaged log aside: the node leaves the cluster, and rejoins it as a learner.",
    ),
]

Hosts = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        help="netns: each node in a network namespace of its own, with keys; as root.",
        show_default=False,
    ),
]
