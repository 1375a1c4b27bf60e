"""The verbs of the replicated store: put, get, del, cas.

Owns their command lines, and which exit code says which of a client's honest answers. They talk to the
nodes themselves; the launcher has no part in it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cluster.cli import options
from raft.cluster.cli.app import STORE, app, out
from raft.cluster.cli.connecting import TIMEOUT_SECONDS, Timeout, Via, connected
from raft.cluster.failures import ExitCode, VerbFailed

if TYPE_CHECKING:
    from raft.machines.operations import Fence

Key = Annotated[str, typer.Argument(metavar="KEY", help="Any text, up to 4 KiB.")]
Lease = Annotated[
    int, typer.Option(metavar="LEASE", min=0, help="Unbind the key when that lease ends: see lease grant.")
]
FencedBy = Annotated[
    int | None,
    typer.Option(
        metavar="TOKEN",
        min=1,
        help="Only while the candidate of that token leads, or holds its lock; else exit 5. "
        "elect and lock give it to a program as FENCING_TOKEN.",
        show_default=False,
    ),
]


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py put colour blue")
def put(
    context: typer.Context,
    key: Key,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="Any text, up to 1 MiB; - is what standard input holds.")
    ],
    fence: FencedBy = None,
    lease: Lease = 0,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """Bind a key to a value; returns when that is committed. Exit 7 if the lease has ended."""
    content = sys.stdin.buffer.read() if value == "-" else os.fsencode(value)
    with connected(context, cluster, via, timeout) as client:
        client.put(os.fsencode(key), content, lease=lease, fence=_fence(fence))
    out("OK")


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py get colour")
def get(
    context: typer.Context,
    key: Key,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="All keys that begin so: KEY, a tab and VALUE, a line each.")
    ] = False,
    stale: Annotated[bool, typer.Option("--stale", help="What some node believes; asks no quorum.")] = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """What a key holds, as fresh as any answered command; exit 7 when it holds nothing."""
    with connected(context, cluster, via, timeout) as client:
        if prefix:
            items = list(client.items(os.fsencode(key), stale=stale))
            lines = [item.key + b"\t" + item.value for item in items]
        else:
            value = client.get(os.fsencode(key), stale=stale)
            lines = [value] if value is not None else []
    if not lines:
        raise VerbFailed(f"{key!r} is not bound", ExitCode.NOT_FOUND)
    sys.stdout.flush()
    sys.stdout.buffer.writelines(line + b"\n" for line in lines)
    sys.stdout.buffer.flush()


@app.command("del", rich_help_panel=STORE, epilog="Example: launcher.py del colour")
def delete(
    context: typer.Context,
    key: Key,
    fence: FencedBy = None,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """Unbind a key; prints how many were bound, 1 or 0."""
    with connected(context, cluster, via, timeout) as client:
        existed = client.delete(os.fsencode(key), fence=_fence(fence))
    out(str(int(existed)))


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py cas colour blue green")
def cas(
    context: typer.Context,
    key: Key,
    old: Annotated[str, typer.Argument(metavar="OLD", help="What it must hold.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is to hold.")],
    fence: FencedBy = None,
    lease: Lease = 0,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    cluster: options.Cluster = None,
) -> None:
    """Bind a key to NEW if it holds OLD; exit 5 when it holds something else."""
    with connected(context, cluster, via, timeout) as client:
        answer = client.cas(
            os.fsencode(key), os.fsencode(old), os.fsencode(new), lease=lease, fence=_fence(fence)
        )
    if not answer.swapped:
        found = "nothing" if answer.value is None else repr(os.fsdecode(answer.value))
        raise VerbFailed(f"{key!r} holds {found}, not {old!r}", ExitCode.REJECTED)
    out("OK")


def _fence(token: int | None) -> Fence | None:
    if token is None:
        return None
    from raft.machines.operations import Fence

    return Fence("", token)
