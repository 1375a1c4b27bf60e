"""The verbs on the data directory of a stopped node: init, recover.

Owns their command lines, and the questions before a recovery. Knows nothing of what a recovery does: see
raft.node.process.recovery.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cli import options
from raft.cli.app import CLUSTER, app, confirm, say, session_of
from raft.cli.verbs.cluster.backup import failed, wall_seconds_now
from raft.cluster.failures import BadUsage, VerbFailed

if TYPE_CHECKING:
    from raft.cluster.datadir import DataDirectory
    from raft.node.process.recovery import Survivor

DataDir = Annotated[
    Path, typer.Option(metavar="DIR", help="Of a remaining node, or of a whole cluster of up.")
]
NodeId = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="In the directory of up: another node than that with the longest log.",
        show_default=False,
    ),
]
Lost = Annotated[
    str, typer.Option(metavar="N,…", help="These are certainly lost: do not ask them.", show_default=False)
]
PeerList = Annotated[
    str,
    typer.Option(
        "--peers",
        metavar="N=ENDPOINT,…",
        help="The present endpoints of other nodes, if they differ.",
        show_default=False,
    ),
]
Keys = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A key for asking other nodes.", show_default=False)
]
Machine = Annotated[
    str | None, typer.Option(metavar="MODULE:CLASS", help="The node's custom machine.", show_default=False)
]
ASK_SECONDS = 2.0


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py init --data-dir /var/lib/raft/n1")
def init(
    context: typer.Context,
    data_dir: options.NewDataDir,
    output: options.Output = options.Format.TABLE,
) -> None:
    """Create the data directory of a node that python -m raft.node is to run; once for each node.

    From the first start on, start the node with --existing: it then refuses a directory that is empty because
    its disk was lost.
    """
    from raft.node.process.permit import PERMIT, permit_first_start
    from raft.node.process.restore import lock_directory
    from raft.storage.errors import StoreError

    try:
        names = {path.name for path in data_dir.iterdir()} if data_dir.exists() else set()
        if names - {PERMIT, "lost+found"}:
            raise VerbFailed(
                f"{data_dir} is not empty ({', '.join(sorted(names)[:3])}); nothing was changed. A node that "
                "has run there is started with --existing, and needs no init"
            )
        permit_first_start(data_dir)
        lock_directory(
            data_dir
        ).close()  # Fails now, rather than at the node's start, if it cannot be locked.
    except (StoreError, OSError) as error:
        raise failed(error) from error
    confirm(context, [f"{data_dir} is ready: start its node with --existing"], output, data_dir=str(data_dir))


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py recover --data-dir ./n1 --dry-run")
def recover(
    context: typer.Context,
    data_dir: DataDir,
    node_id: NodeId = None,
    lost: Lost = "",
    peers: PeerList = "",
    keys: Keys = None,
    machine: Machine = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: options.DryRun = False,
    output: options.Output = options.Format.TABLE,
) -> None:
    """LAST RESORT, when a majority is lost for good: make a cluster of the one remaining node.

    Entries that only the lost nodes had are lost, even if they were acknowledged. Refused while a majority is
    alive. Of several remaining nodes, recover the one with the longest log: --dry-run shows its length.
    """
    from raft.machines.machine import MachineError, WrongVersion
    from raft.node.config import BadConfig
    from raft.storage.errors import StoreError

    try:
        with _survivor(data_dir, node_id, machine) as (survivor, data, readable):
            if survivor.resumed:
                _only_member(survivor, data)
                confirm(context, [f"{survivor.directory}: the interrupted recovery is complete"], output)
                return
            given_up = options.node_ids(lost)
            alive = readable - given_up if data else _who_lives(survivor, given_up, peers, keys)
            _refuse_while_a_majority_lives(survivor, alive)
            for line in _warning(survivor):
                say(line, "bold", "red")
            if dry_run:
                confirm(context, [f"would recover {survivor.directory}"], output, **_found(survivor))
                return
            if not yes:
                _ask(context, survivor)
            record = survivor.recover(now=wall_seconds_now())
            _only_member(survivor, data)
    except BadConfig as error:
        raise BadUsage(str(error)) from error
    except (StoreError, MachineError, WrongVersion, OSError) as error:
        raise failed(error) from error
    lines = [
        f"{survivor.directory}: node {record.node} is a cluster of one, identity {record.identity}",
        "its old log is kept beside the new one, in .replaced-N; recovered.json says what was done",
        "start it as before but without --peer; add members with empty directories (--join), under any ids",
    ]
    confirm(context, lines, output, **_found(survivor), identity=record.identity, index=record.index)


@contextmanager
def _survivor(
    data_dir: Path, node_id: int | None, machine: str | None
) -> Iterator[tuple[Survivor, DataDirectory | None, Set[int]]]:
    """The remaining node, the cluster's directory if that was named, and the nodes whose logs are in it."""
    from raft.cluster.datadir import held_data, is_data_of_a_cluster
    from raft.node.process.main import load_machine
    from raft.node.process.recovery import Survivor

    if not is_data_of_a_cluster(data_dir):
        if node_id is not None:
            raise BadUsage("--node-id selects a node in the directory of a whole cluster")
        with Survivor(data_dir, load_machine(machine or "")) as survivor:
            yield survivor, None, set()
        return
    with held_data(data_dir) as data:
        ends = _log_ends(data)
        directory = data.of_node(node_id or max(ends, key=lambda node: ends[node]))
        with Survivor(directory, load_machine(machine or data.machine or "")) as survivor:
            yield survivor, data, ends.keys()


def _log_ends(data: DataDirectory) -> dict[int, tuple[int, int]]:
    """The last term and index of each node whose log can be read."""
    from raft.node.process.recovery import log_end
    from raft.storage.errors import StoreError

    ends: dict[int, tuple[int, int]] = {}
    for node in data.members:
        try:
            ends[node] = log_end(data.of_node(node))
        except StoreError as error:
            say(f"n{node} is lost: {error}")
    if not ends:
        raise VerbFailed(f"no node's log in {data.path} can be read")
    return ends


def _who_lives(survivor: Survivor, given_up: Set[int], peers: str, keys: Path | None) -> set[int]:
    """Which of the other voters answer as members of the same cluster."""
    from actors.errors import TransportError
    from raft.client.survey import CannotAsk, ask_each, why_unsure
    from raft.protocol.client import LeaderIs, WhoLeads

    known = {**survivor.endpoints, **(options.endpoints(peers) if peers else {})}
    others = [node for node in survivor.voters if node != survivor.node and node not in given_up]
    unknown = [node for node in others if not known.get(node)]
    if unknown:
        raise BadUsage(
            f"the endpoint of n{unknown[0]} is not in this directory: give --peers {unknown[0]}=ENDPOINT, so "
            f"that it can be asked, or, if it is certainly lost, --lost {unknown[0]}"
        )
    asked = {node: known[node] for node in others}
    say(f"asking {', '.join(f'n{node} at {at}' for node, at in asked.items()) or 'no other node'}")
    try:
        answers = ask_each(
            asked, WhoLeads(), cluster=survivor.identity.cluster, keys=keys, timeout_seconds=ASK_SECONDS
        )
    except TransportError as error:
        raise BadUsage(str(error)) from error
    alive = set()
    for node, answer in answers.items():
        unsure = "" if isinstance(answer, LeaderIs) else why_unsure(asked[node])
        if isinstance(answer, CannotAsk) or unsure:
            raise VerbFailed(
                f"whether n{node} lives cannot be told: {unsure or answer}. Give --keys or --peers, or, if "
                f"it is lost for certain, --lost {node}; nothing was changed"
            )
        if isinstance(answer, LeaderIs) and survivor.may_be_of(answer.identity):
            alive.add(node)
            say(f"n{node} IS ALIVE")
        else:
            say(f"n{node} does not answer as a member of this cluster: {answer}")
    return alive


def _refuse_while_a_majority_lives(survivor: Survivor, alive: Set[int]) -> None:
    if survivor.is_quorum(set(alive)):
        living = ", ".join(f"n{node}" for node in sorted({*alive, survivor.node}))
        raise VerbFailed(
            f"a majority is alive: {living} are a quorum of {list(survivor.voters)}. Start n{survivor.node} "
            "as it is; nothing was changed"
        )


def _only_member(survivor: Survivor, data: DataDirectory | None) -> None:
    if data is not None:
        data.change_members([survivor.node])


def _warning(survivor: Survivor) -> list[str]:
    unsure = survivor.last_index - survivor.commit
    doubt = f"{unsure} of them may not have been committed, and are kept" if unsure else "all is committed"
    rolled_back = ["its log was FOUND TO LACK what it had acknowledged: choose another node if there is one"]
    return [
        *(rolled_back if survivor.was_rolled_back else []),
        f"RECOVERY of node {survivor.node} of {list(survivor.voters)}, cluster {survivor.old_identity}",
        f"its log ends at entry {survivor.last_index} of term {survivor.last_term}; {doubt}",
        "entries that only the other nodes had are LOST, even if they were acknowledged",
        "the lost members must never run on their old data again; if they do, the new cluster ignores them",
    ]


def _ask(context: typer.Context, survivor: Survivor) -> None:
    if session_of(context).at_prompt or not sys.stdin.isatty():
        raise BadUsage("this cannot be undone: confirm it by --yes")
    say(f"type the node's id, {survivor.node}, to continue:")
    if sys.stdin.readline().strip() not in (str(survivor.node), f"n{survivor.node}"):
        raise VerbFailed("nothing was changed")


def _found(survivor: Survivor) -> dict[str, object]:
    return {
        "node": survivor.node,
        "old_identity": survivor.old_identity,
        "voters": survivor.voters,
        "last_index": survivor.last_index,
        "last_term": survivor.last_term,
        "commit": survivor.commit,
    }
