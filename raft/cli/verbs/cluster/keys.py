"""The verbs on keys: keys make, add, rotate, retire, remove, list.

Owns their command lines. What a key file is, curve says; what a role is, a node's roles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import CLUSTER, app, confirm, out, out_json
from raft.cli.verb import Verbs
from raft.cluster.failures import VerbFailed
from raft.cluster.quantities import count_of

keys = Verbs(
    help="CURVE keys for nodes and clients on several hosts, the list of those allowed, and their roles.",
    epilog="Example: launcher.py keys ./keys --nodes 3",
)
app.add_typer(keys, name="keys", rich_help_panel=CLUSTER)

Directory = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Where the key files and allowed.toml are.")
]
HERE = Path("keys")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name in the list.", show_default=False)]
THEN = "give every host the new allowed.toml, and send SIGHUP to its node"


@contextmanager
def _telling() -> Iterator[None]:
    from actors.transport.curve import KeysError

    try:
        yield
    except KeysError as error:
        raise VerbFailed(str(error)) from error


def _made(context: typer.Context, paths: list[Path], output: options.Format, *then: str) -> None:
    confirm(context, [*(str(path) for path in paths), *then], output, files=[str(path) for path in paths])


@keys.command(epilog="Example: launcher.py keys make ./keys --nodes 3")
def make(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if need be, mode 0700.")],
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", help="For n1 to nN.")] = 3,
    clients: Annotated[
        list[str], typer.Option("--client", metavar="NAME", help="An operator's key; repeatable.")
    ] = [],  # noqa: B006
    output: options.Output = options.Format.TABLE,
) -> None:
    """Keys for a new cluster: private files, and the list of those allowed. `make` may be left out.

    Clients that are named here are operators; `keys add` gives lesser roles.
    """
    from actors.transport.curve import Grant, generate

    named = clients or ["client"]
    with _telling():
        members = [f"n{node}" for node in range(1, nodes + 1)]
        made = generate(directory, members + named, dict.fromkeys(named, Grant("operator")))
    _made(context, made, output)


@keys.command(epilog="Example: launcher.py keys add n4, or: keys add shop --role client --below shop/")
def add(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="n4 is node 4's; others, clients'.")],
    role: Annotated[
        str,
        typer.Option(metavar="ROLE", help="member, operator, client or reader.", show_default="by the name"),
    ] = "",
    below: Annotated[
        str, typer.Option(metavar="PREFIX", help="A client's or reader's keys begin so.", show_default=False)
    ] = "",
    directory: Directory = HERE,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Keys for more nodes or clients; n4 and so on are members, others clients, unless --role says more."""
    from actors.transport.curve import Grant, generate
    from raft.node.process.roles import role_of
    from raft.protocol.registry import node_of

    with _telling():
        grants = {name: Grant(role or ("" if node_of(name) else "client"), below) for name in names}
        for name, grant in grants.items():
            role_of(name, grant)
        made = generate(directory, names, grants)
    _made(context, made, output, f"then {THEN}")


@keys.command(epilog="Example: launcher.py keys rotate n2")
def rotate(
    context: typer.Context,
    name: Name,
    directory: Directory = HERE,
    output: options.Output = options.Format.TABLE,
) -> None:
    """A new key for a name, which is let in by both until `keys retire`."""
    from actors.transport import curve

    with _telling():
        made = curve.rotate(directory, name)
    _made(
        context, [made], output, f"then {THEN}; give {name} its new key file; start it again if it is a node"
    )


@keys.command(epilog="Example: launcher.py keys retire n2")
def retire(
    context: typer.Context,
    name: Name,
    directory: Directory = HERE,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Let a name in by its newest key only, once that is in use."""
    from actors.transport import curve

    with _telling():
        count = curve.retire(directory, name)
    line = f"{count_of(count, 'older key')} of {name} retired"
    confirm(context, [line, f"then {THEN}"], output, name=name, retired=count)


@keys.command(epilog="Example: launcher.py keys remove shop")
def remove(
    context: typer.Context,
    name: Name,
    directory: Directory = HERE,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Take a name off the list, and its key file away."""
    from actors.transport import curve

    with _telling():
        curve.remove(directory, name)
    confirm(context, [f"{name} removed", f"then {THEN}"], output, name=name)


@keys.command("list", epilog="Example: launcher.py keys list -o json")
def list_(
    directory: Directory = HERE,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Who is let in, in which role, by which public keys."""
    from actors.transport.curve import read_list
    from raft.node.process.roles import role_of

    with _telling():
        entries = sorted(read_list(directory).items())
        rows = [
            {
                "name": name,
                "role": role_of(name, entry.grant).value,
                "below": entry.grant.below,
                "keys": [key.decode() for key in entry.keys],
            }
            for name, entry in entries
        ]
    if output is options.Format.JSON:
        out_json(keys=rows)
        return
    width = max((len(name) for name, _ in entries), default=0)
    for (name, entry), row in zip(entries, rows, strict=True):
        below = f"  below {entry.grant.below}" if entry.grant.below else ""
        out(f"{name:{width}}  {row['role']:8}  {'  '.join(key.decode() for key in entry.keys)}{below}")
