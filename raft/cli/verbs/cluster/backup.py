"""The verbs on backups: backup save, show, restore.

Owns their command lines, and the creation of a restored cluster's data directory. Knows nothing of the
layout of a backup (see raft.storage.backup), nor of what a restore changes (see raft.node.process.restore).
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cli import options
from raft.cli.app import CLUSTER, app, confirm, note, out, out_json
from raft.cli.connection import TIMEOUT_SECONDS, Timeout, Via, connected
from raft.cli.verb import Verbs
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed
from raft.cluster.quantities import format_duration

if TYPE_CHECKING:
    from raft.node.process.restore import NewCluster
    from raft.protocol.client import BackupTaken
    from raft.storage.backup import Backup, BackupWriter

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
MemberList = Annotated[
    str,
    typer.Option(
        "--members",
        metavar="N=ENDPOINT,…",
        help="The new cluster's members; without it, those in the backup.",
        show_default=False,
    ),
]

NodeId = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Restore only this node, for python -m raft.node; without it, a whole cluster, for up.",
        show_default=False,
    ),
]
ClusterId = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="The --cluster of the nodes; by default the backup's.", show_default=False
    ),
]
TokenText = Annotated[
    str,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="On further hosts: as printed by the first restore.",
        show_default=False,
    ),
]
NodeCount = Annotated[
    int | None,
    typer.Option(metavar="N", help="For a whole cluster; by default as in the backup.", show_default=False),
]
Machine = Annotated[
    str | None,
    typer.Option(metavar="MODULE:CLASS", help="The machine that up gets.", show_default=False),
]

backup = Verbs(
    help="The state of a whole cluster in one file: save it, inspect it, start a new cluster from it.",
    epilog="Example: launcher.py backup save monday.backup",
)
app.add_typer(backup, name="backup", rich_help_panel=CLUSTER)


@backup.command(epilog="Example: launcher.py backup save monday.backup --via 2")
def save(
    context: typer.Context,
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    timeout: Timeout = TIMEOUT_SECONDS,
    via: Via = "all",
    output: options.Output = options.Format.TABLE,
    cluster: options.Cluster = None,
) -> None:
    """Save everything acknowledged so far, from a running cluster, without interrupting it.

    The file gets its name only when it is complete, checked and durable. --timeout applies to each chunk.
    """
    from raft.storage.backup import BackupWriter
    from raft.storage.errors import StoreError

    now = wall_seconds_now()  # Before the request: the contents are not older.
    try:
        writer = BackupWriter(file, overwrite=force)
        try:
            with connected(context, cluster, via, timeout) as client:
                client.read_backup(_Saved(writer, now))
            saved = writer.finish()
        finally:
            writer.discard()
    except StoreError as error:
        raise failed(error) from error
    text = f"{file}: {_size(saved.size_bytes)}, everything up to entry {saved.head.index}"
    confirm(context, [text], output, **_fields(saved))


@backup.command(epilog="Example: launcher.py backup show monday.backup -o json")
def show(
    context: typer.Context,
    file: File,
    output: options.Output = options.Format.TABLE,
) -> None:
    """What a backup contains, after a check of every byte; exit 1 if it is damaged."""
    del context
    found = _read(file)
    if output is options.Format.JSON:
        out_json(**_fields(found))
        return
    head = found.head
    saved = datetime.datetime.fromtimestamp(head.saved_at, datetime.UTC).isoformat(timespec="seconds")
    age = format_duration(max(wall_seconds_now() - head.saved_at, 0.0))
    members = " ".join(f"n{node}={head.endpoints.get(node, '?')}" for node in (*head.voters, *head.learners))
    for line in (
        f"cluster   {head.cluster}, identity {head.identity}",
        f"state     up to entry {head.index} of term {head.term}",
        f"saved     {saved} ({age} ago), by raft-actors {head.release}",
        f"members   {members}",
        f"machine   version {head.machine_version}",
        f"size      {_size(found.size_bytes)}, complete",
        f"sha-256   {found.digest}",
    ):
        out(line)


@backup.command(epilog="Example: launcher.py backup restore monday.backup --data-dir ./data")
def restore(
    context: typer.Context,
    file: File,
    data_dir: options.NewDataDir,
    node_id: NodeId = None,
    members: MemberList = "",
    cluster_id: ClusterId = "",
    token: TokenText = "",
    nodes: NodeCount = None,
    machine: Machine = None,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Start a new cluster from a backup.

    It has a new identity: nodes and clients of the old cluster cannot talk to it, and its fencing tokens are
    greater than all tokens of the old one.
    """
    from raft.node.config import BadConfig
    from raft.storage.errors import StoreError

    found = _read(file)
    try:
        if node_id is None:
            if members or cluster_id or token:
                raise BadUsage("--members, --cluster-id and --token go with --node-id")
            new = _restore_all(found, data_dir, nodes, machine)
            lines = [f"{data_dir}: a new cluster of {len(new.members)} nodes, identity {new.identity}"]
            made = {"index": new.index, "identity": new.identity, "nodes": sorted(new.members)}
        else:
            if nodes is not None or machine:
                raise BadUsage("--nodes and --machine are for a whole cluster, without --node-id")
            lines, made = _restore_one(found, data_dir, node_id, members, cluster_id, token)
    except BadConfig as error:
        raise BadUsage(str(error)) from error
    except (StoreError, OSError) as error:
        raise failed(error) from error
    confirm(context, lines, output, **made)
    note(
        context,
        f"its log begins at entry {made['index']}, with all that the old one had at {found.head.index}",
    )


def _restore_all(found: Backup, data_dir: Path, wanted: int | None, machine: str | None) -> NewCluster:
    from raft.cluster.datadir import restored_data
    from raft.node.process.restore import Token, first_index, planned

    nodes = len(found.head.voters) if wanted is None else wanted
    if not 1 <= nodes <= 64:
        raise BadUsage(f"a cluster has 1 to 64 nodes, not {nodes}")
    now = wall_seconds_now()
    token = Token.draw(first_index(found.head.index, now - found.head.saved_at))
    new = planned(found, dict.fromkeys(range(1, nodes + 1), ""), token)  # `up` adds the endpoints.
    restored_data(data_dir, found, new, machine, now)
    return new


def _restore_one(
    found: Backup, data_dir: Path, node_id: int, members: str, cluster_id: str, token_text: str
) -> tuple[list[str], dict[str, object]]:
    from raft.node.process.restore import Token, first_index, planned, restore

    head, now = found.head, wall_seconds_now()
    named = options.endpoints(members) if members else {n: head.endpoints.get(n, "") for n in head.voters}
    if not all(named.values()):
        raise BadUsage("the backup does not say where its members listen: give --members")
    if token_text:
        token = Token.parse(token_text, head.index)
    else:
        token = Token.draw(first_index(head.index, now - head.saved_at))
    new = planned(found, named, token)
    cluster = cluster_id or head.cluster
    record = restore(found, data_dir, new, cluster=cluster, node=node_id, now=now)
    lines = [f"{data_dir}: node {node_id} of a new cluster of {len(named)}, identity {new.identity}"]
    if len(named) > 1 and not token_text:
        lines.append(f"on each other host, with its own --node-id, too: --token {token}")
    lines.append(f"start it with --existing --id {node_id} --cluster {cluster}")
    made: dict[str, object] = {
        "identity": record.identity,
        "index": record.index,
        "node": node_id,
        "members": {str(node): endpoint for node, endpoint in named.items()},
        "cluster": cluster,
        "token": str(token),
    }
    return lines, made


class _Saved:
    """Writes a backup received from a node into a file."""

    def __init__(self, writer: BackupWriter, saved_at: float) -> None:
        self._writer = writer
        self._saved_at = saved_at

    def begin(self, taken: BackupTaken) -> None:
        """A backup begins."""
        from raft.storage.backup import BackupHead
        from raft.version import VERSION

        head = BackupHead(
            cluster=taken.cluster,
            identity=taken.identity,
            index=taken.index,
            term=taken.term,
            voters=taken.voters,
            learners=taken.learners,
            endpoints=taken.endpoints,
            machine_version=taken.machine_version,
            saved_at=self._saved_at,
            release=VERSION,
        )
        self._writer.begin(head, taken.size)

    def add(self, piece: bytes) -> None:
        """The next chunk."""
        self._writer.add(piece)


def wall_seconds_now() -> float:
    """Seconds since the epoch: for output, and for the age of a file."""
    return datetime.datetime.now(datetime.UTC).timestamp()


def failed(error: Exception) -> VerbFailed:
    """The error of a verb whose files could not be read or written."""
    text = (
        f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    )
    return VerbFailed(text, ExitCode.FAILURE)


def _read(file: Path) -> Backup:
    from raft.storage.backup import read_backup
    from raft.storage.errors import StoreError

    try:
        return read_backup(file)
    except StoreError as error:
        raise failed(error) from error


def _fields(found: Backup) -> dict[str, object]:
    head = found.head
    return {
        "file": str(found.path),
        "cluster": head.cluster,
        "identity": head.identity,
        "index": head.index,
        "term": head.term,
        "voters": head.voters,
        "learners": head.learners,
        "endpoints": {str(node): endpoint for node, endpoint in head.endpoints.items()},
        "machine_version": head.machine_version,
        "saved_at": datetime.datetime.fromtimestamp(head.saved_at, datetime.UTC).isoformat(),
        "release": head.release,
        "bytes": found.size_bytes,
        "sha256": found.digest,
    }


def _size(size_bytes: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"
