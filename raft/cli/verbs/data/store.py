"""The verbs of the replicated store: put, get, del, cas.

Owns their command lines, and the exit codes of a client's answers. They connect to the nodes themselves,
without the launcher.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cli import options
from raft.cli.app import STORE, app, confirm, out, out_json, session_of
from raft.cli.connection import TIMEOUT_SECONDS, Timeout, Via, connected
from raft.cli.formats import item_fields, text_field
from raft.cli.terminal.output import out_bytes
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed

if TYPE_CHECKING:
    from raft.client.client import Client
    from raft.machines.commands import Fence
    from raft.machines.results import Item

Key = Annotated[str, typer.Argument(metavar="KEY", help="Any text, up to 4 KiB.")]
Lease = Annotated[
    int, typer.Option(metavar="LEASE", min=0, help="Delete the key when that lease ends: see lease grant.")
]
FencedBy = Annotated[
    int | None,
    typer.Option(
        metavar="TOKEN",
        min=1,
        help="Only while this token leads, or holds its lock; else exit 5. "
        "elect and lock pass it to a program as FENCING_TOKEN.",
        show_default=False,
    ),
]


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py put colour blue")
def put(
    context: typer.Context,
    key: Key,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="Any text, up to 1 MiB; - reads it from standard input.")
    ],
    fence: FencedBy = None,
    lease: Lease = 0,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Set a key's value; returns when that is committed. Exit 7 if the lease has ended."""
    if value == "-" and session_of(context).at_prompt:
        raise BadUsage(
            "the prompt reads standard input itself: use put K - in a shell: date | raft-actors put K -"
        )
    content = _standard_input() if value == "-" else os.fsencode(value)
    with connected(context, cluster, via, timeout) as client:
        revision = client.put(os.fsencode(key), content, lease=lease, fence=fence_of(fence))
    confirm(context, ["OK"], output, revision=revision)


def _standard_input() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        state = "is closed" if error.errno == errno.EBADF else f"cannot be read ({error.strerror})"
        raise BadUsage(
            f"standard input {state}, and put K - stores what it gives: date | raft-actors put K -"
        ) from error


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py get colour")
def get(
    context: typer.Context,
    key: Key,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="All keys with this prefix: KEY, a tab and VALUE, a line each.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="From one node's own state, without a quorum.")
    ] = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """A key's value, by a linearizable read; exit 7 if the key does not exist."""
    with connected(context, cluster, via, timeout) as client:
        items = list(client.items(os.fsencode(key), stale=stale)) if prefix else _item(client, key, stale)
    if not items:
        missing = f"no key begins with {key!r}" if prefix else f"there is no key {key!r}"
        raise VerbFailed(missing, ExitCode.NOT_FOUND)
    if output is options.Format.JSON:
        out_json(items=[item_fields(item) for item in items])
        return
    for item in items:
        out_bytes(item.key + b"\t" + item.value if prefix else item.value)


def _item(client: Client, key: str, stale: bool) -> list[Item]:
    from raft.machines.commands import Get
    from raft.machines.results import Value

    found = client.ask(Get(os.fsencode(key)), stale=stale)
    assert isinstance(found, Value), f"unexpected answer to a get: {found}"
    return [] if found.item is None else [found.item]


@app.command("del", rich_help_panel=STORE, epilog="Example: launcher.py del colour")
def delete(
    context: typer.Context,
    key: Key,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="All keys with this prefix, in one revision.")
    ] = False,
    fence: FencedBy = None,
    dry_run: options.DryRun = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Delete a key; prints how many existed. With --prefix and \"\" as KEY: all keys."""
    from raft.machines.commands import Delete, DeleteRange
    from raft.machines.keys import prefix_end
    from raft.machines.results import Deleted

    start = os.fsencode(key)
    with connected(context, cluster, via, timeout) as client:
        if dry_run:
            found = (
                [item.key for item in client.items(start)]
                if prefix
                else [item.key for item in _item(client, key, stale=False)]
            )
            _would_delete(context, found, output)
            return
        fencing = fence_of(fence)
        done = client.call(
            DeleteRange(start, prefix_end(start), fencing) if prefix else Delete(start, fencing)
        )
    assert isinstance(done, Deleted), f"unexpected answer to a deletion: {done}"
    if output is options.Format.JSON:
        out_json(deleted=done.count)
    else:
        out(str(done.count))


def _would_delete(context: typer.Context, keys: list[bytes], output: options.Format) -> None:
    lines = [f"would delete {os.fsdecode(key)}" for key in keys]
    confirm(
        context,
        lines or ["nothing would be deleted"],
        output,
        would_delete=[text_field("key", key) for key in keys],
    )


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py cas colour blue green")
def cas(
    context: typer.Context,
    key: Key,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The expected value.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new value.")],
    fence: FencedBy = None,
    lease: Lease = 0,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Set a key to NEW if its value is OLD; exit 5 if it is another one."""
    with connected(context, cluster, via, timeout) as client:
        answer = client.cas(
            os.fsencode(key), os.fsencode(old), os.fsencode(new), lease=lease, fence=fence_of(fence)
        )
    if output is options.Format.JSON:
        now = {} if answer.value is None else text_field("value", answer.value)
        out_json(swapped=answer.swapped, bound=answer.value is not None, **now)
    if not answer.swapped:
        found = "nothing" if answer.value is None else repr(os.fsdecode(answer.value))
        raise VerbFailed(f"{key!r} holds {found}, not {old!r}", ExitCode.REJECTED)
    if output is options.Format.TABLE:
        confirm(context, ["OK"])


def fence_of(token: int | None) -> Fence | None:
    """The store's fence for `--fence`."""
    if token is None:
        return None
    from raft.machines.commands import Fence

    return Fence("", token)
