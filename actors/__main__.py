"""`python -m actors`: what runs in a system of actors, seen from outside.

Owns the command line of top and trace, and its exit codes: 0, 1 for what cannot be looked at, 2 for a command
line that means nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from actors.address import Address, check_process_name
from actors.errors import ActorsError, BadAddress
from actors.observation import commands
from actors.observation.onlooker import System, only_system, system_in
from actors.processes.child_main import MAIN

INTERRUPTED: Final = 130
_WHERE: Final = (
    "the directory of a system's sockets, or processes as NAME=ENDPOINT (ann=tcp://10.0.0.1:7400); left out:"
    " the one system that you run on this machine"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    say = partial(print, file=sys.stderr)
    try:
        system = system_of(options.where, options.cluster, options.keys)
        if options.command == "top":
            commands.top(
                system,
                partial(print, flush=True),
                interval_seconds=options.watch or options.interval,
                times=(options.times if options.watch else 1),
                rows_max=options.rows,
                as_json=options.output == "json",
            )
        else:
            commands.trace(
                system,
                options.actor,
                partial(print, flush=True),
                say,
                seconds=options.seconds,
                records_max=options.limit,
                as_json=options.output == "json",
            )
    except ActorsError as error:
        say(f"actors: {error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # What reads this has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def system_of(where: Sequence[str], cluster: str, keys: Path | None) -> System:
    """The system that a command line means. Raises ActorsError."""
    if not where:
        return only_system()
    if len(where) == 1 and "=" not in where[0]:
        return system_in(Path(where[0]), cluster)
    endpoints = {}
    for text in where:
        name, equals, endpoint = text.partition("=")
        if not equals:
            raise BadAddress(f"processes are given as NAME=ENDPOINT, unlike {text!r}")
        endpoints[check_process_name(name)] = endpoint
    return System(endpoints=lambda: endpoints, cluster=cluster or "actors", keys=keys)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m actors",
        description="A running system of actors, seen from outside. What is not looked at pays nothing.",
    )
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    top = verbs.add_parser(
        "top", help="processes, actors, mailboxes, times of handlers, restarts, dead letters"
    )
    top.add_argument("where", nargs="*", metavar="WHERE", help=_WHERE)
    top.add_argument(
        "--interval", type=_positive, default=commands.INTERVAL_SECONDS, metavar="SECONDS",
        help="measure for so long (default: %(default)g)",
    )  # fmt: skip
    top.add_argument("--watch", type=_positive, metavar="SECONDS", help="again and again, until Ctrl-C")
    top.add_argument("--times", type=_count, metavar="N", help="with --watch: end after so many")
    top.add_argument(
        "--rows", type=_count, default=commands.ROWS_MAX, metavar="N",
        help="so many actors and handlers (default: %(default)d)",
    )  # fmt: skip
    trace = verbs.add_parser("trace", help="the messages of one actor, without their contents")
    trace.add_argument(
        "actor", type=_address, metavar="ACTOR", help="its address; worker stands for worker/main"
    )
    trace.add_argument("where", nargs="*", metavar="WHERE", help=_WHERE)
    trace.add_argument(
        "--seconds", type=_positive, default=commands.TRACE_SECONDS, metavar="SECONDS",
        help="end by itself after so long (default: %(default)g)",
    )  # fmt: skip
    trace.add_argument(
        "--limit", type=_count, default=commands.RECORDS_MAX, metavar="N",
        help="end after so many messages (default: %(default)d)",
    )  # fmt: skip
    for verb in (top, trace):
        verb.add_argument("-o", "--output", choices=("table", "json"), default="table")
        verb.add_argument(
            "--cluster", default="", metavar="NAME",
            help="what keeps systems apart (default: the directory's name, or actors)",
        )  # fmt: skip
        verb.add_argument("--keys", type=Path, metavar="FILE", help="a key that the system allows, for TCP")
    return parser


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"seconds are more than 0, not {text}")
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"1 or more, not {text}")
    return count


def _address(text: str) -> Address:
    try:
        return Address.parse(text if "/" in text else f"{text}/{MAIN}")
    except BadAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
