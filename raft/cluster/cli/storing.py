"""The verbs of the replicated store: put, get, del, cas.

Owns their command lines, and which exit code says which of a client's honest answers. They talk to the
nodes themselves; the launcher has no part in it.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cluster.cli import options
from raft.cluster.cli.app import STORE, app, out, session_of
from raft.cluster.failures import ExitCode, VerbFailed
from raft.cluster.selectors import Picture, select

if TYPE_CHECKING:
    from raft.client.client import Client

Key = Annotated[str, typer.Argument(metavar="KEY", help="Any text, up to 4 KiB.")]
Timeout = Annotated[
    float, typer.Option(metavar="DURATION", parser=options.positive_duration, help="Try for so long.")
]
Via = Annotated[
    str, typer.Option(metavar="SELECTOR", parser=options.selector, help="Know of these nodes only, by id.")
]
TIMEOUT_SECONDS = 5.0


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py put colour blue")
def put(
    context: typer.Context,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Any text, up to 1 MiB.")],
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """Bind a key to a value; returns when that is committed."""
    with _client(context, cluster, via, timeout) as client:
        client.put(os.fsencode(key), os.fsencode(value))
    out("OK")


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py get colour")
def get(
    context: typer.Context,
    key: Key,
    stale: Annotated[bool, typer.Option("--stale", help="What some node believes; asks no quorum.")] = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """What a key holds, as fresh as any answered command; exit 7 when it holds nothing."""
    with _client(context, cluster, via, timeout) as client:
        value = client.get(os.fsencode(key), stale=stale)
    if value is None:
        raise VerbFailed(f"{key!r} is not bound", ExitCode.NOT_FOUND)
    sys.stdout.flush()
    sys.stdout.buffer.write(value + b"\n")
    sys.stdout.buffer.flush()


@app.command("del", rich_help_panel=STORE, epilog="Example: launcher.py del colour")
def delete(
    context: typer.Context,
    key: Key,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """Unbind a key; prints how many were bound, 1 or 0."""
    with _client(context, cluster, via, timeout) as client:
        existed = client.delete(os.fsencode(key))
    out(str(int(existed)))


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py cas colour blue green")
def cas(
    context: typer.Context,
    key: Key,
    old: Annotated[str, typer.Argument(metavar="OLD", help="What it must hold.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is to hold.")],
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """Bind a key to NEW if it holds OLD; exit 5 when it holds something else."""
    with _client(context, cluster, via, timeout) as client:
        answer = client.cas(os.fsencode(key), os.fsencode(old), os.fsencode(new))
    if not answer.swapped:
        found = "nothing" if answer.value is None else repr(os.fsdecode(answer.value))
        raise VerbFailed(f"{key!r} holds {found}, not {old!r}", ExitCode.REJECTED)
    out("OK")


@contextlib.contextmanager
def _client(
    context: typer.Context, cluster: str | None, via: str, timeout_seconds: float
) -> Iterator[Client]:
    """A client of the cluster that is meant; what it raises ends the verb."""
    record = session_of(context).record(cluster)
    from raft.client import client, errors  # Here, since no other verb needs them.

    everyone = tuple(node.id for node in record.nodes)
    known = select(via, Picture(everyone, everyone), random.Random())
    endpoints = {node.id: node.endpoint for node in record.nodes if node.id in known}
    codes: list[tuple[type[Exception], ExitCode]] = [
        (errors.NoLeader, ExitCode.NO_LEADER),
        (errors.Unreachable, ExitCode.UNREACHABLE),
        (errors.Rejected, ExitCode.TIMED_OUT),
        (errors.OutcomeUnknown, ExitCode.OUTCOME_UNKNOWN),
        (errors.ClientError, ExitCode.FAILURE),
    ]
    try:
        with client.Client(endpoints, cluster=record.cluster, timeout_seconds=timeout_seconds) as connected:
            yield connected
    except errors.ClientError as error:
        code = next(code for kind, code in codes if isinstance(error, kind))
        raise VerbFailed(str(error), code) from error
