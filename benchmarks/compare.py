"""This project beside etcd and PySyncObj: the same work, in turn, in one run; also `python -m benchmarks`.

Owns the choice of peers and scenarios, the turns (A B A B, so that a machine that slows down slows all), and
what is printed and kept. A peer that isn't installed is left out and named. `python -m benchmarks tables`
shows what was kept.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers.baseline import BASELINE, baseline, checkout, pairs, table
from benchmarks.peers.etcd import etcd, etcd_tight
from benchmarks.peers.peer import Peer
from benchmarks.peers.pysyncobj import pysyncobj, pysyncobj_tuned
from benchmarks.peers.raft_actors import (
    raft_actors,
    raft_actors_ipc,
    raft_actors_ipc_by_quorum,
    raft_actors_relaxed,
    raft_actors_tight,
)
from benchmarks.peers.record import Figure, Record, describe_machine, rows_of
from benchmarks.peers.scenarios import (
    FULL,
    OF_HEARTBEATS,
    OF_LEASES,
    OF_SERVERS,
    OF_TIMINGS,
    QUICK,
    SCENARIOS,
    Bench,
)
from benchmarks.peers.showing import markdown

SERVERS = {"raft-actors", "etcd"}
# What peers take part in that differ in little from one that does everything.
ONLY = {
    "raft-actors, tight": OF_TIMINGS,
    "etcd, tight": OF_TIMINGS,
    "raft-actors, ipc": OF_LEASES,
    "raft-actors, ipc, no lease": OF_LEASES,
    "raft-actors, 100 ms": OF_HEARTBEATS,
}


def peers() -> tuple[list[Peer], list[Peer]]:
    """Those that do everything, and those of which only the timings, or the endpoints and leases, differ."""
    others: list[Peer] = [
        raft_actors_tight(),
        etcd_tight(),
        raft_actors_ipc(),
        raft_actors_ipc_by_quorum(),
        raft_actors_relaxed(),
    ]
    return [raft_actors(), etcd(), pysyncobj(), pysyncobj_tuned()], others


def taking_part(scenario: str, everything: Sequence[Peer], others: Sequence[Peer]) -> list[Peer]:
    """Whose turn it is in a scenario."""
    if scenario in OF_SERVERS:
        return [peer for peer in everything if peer.name in {*SERVERS, BASELINE}]
    return [*everything, *(peer for peer in others if scenario in ONLY[peer.name])]


def turn(bench: Bench, record: Record) -> Iterator[Figure]:
    """One peer's turn; what fails is noted, and the others go on."""
    try:
        yield from SCENARIOS[bench.scenario](bench)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        record.failed.append(f"{bench.peer.name}, {bench.scenario}: {error}")


def run(options: argparse.Namespace, work: Path, before: Peer | None) -> Record:
    """All turns; tells on standard error how far it is, and keeps the record after each scenario."""
    everything, timings = peers()
    if before is not None:
        everything, timings = [raft_actors(), before], []
    elif options.peer:
        everything = [peer for peer in everything if peer.name in options.peer]
        timings = [peer for peer in timings if peer.name in options.peer]
    missing = {peer.name: why for peer in [*everything, *timings] if (why := peer.missing())}
    for name, why in missing.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    everything = [peer for peer in everything if peer.name not in missing]
    timings = [peer for peer in timings if peer.name not in missing]
    present = [*everything, *timings]
    record = Record(
        machine=describe_machine(work) | ({"remark": options.remark} if options.remark else {}),
        peers={peer.name: peer.version() for peer in present},
        notes={peer.name: peer.note for peer in present},
        durable={peer.name: peer.durable for peer in present},
        missing=missing,
        rounds=options.rounds,
    )
    for peer in present:
        peer.prepare(work)
    began = time.monotonic()
    for scenario in options.only or SCENARIOS:
        for number in range(options.rounds):
            for peer in taking_part(scenario, everything, timings):
                passed = time.monotonic() - began
                print(f"{passed:6.1f}s  {scenario}, round {number + 1}: {peer.name}", file=sys.stderr)
                bench = Bench(peer, QUICK if options.quick else FULL, work, scenario)
                record.figures.extend(turn(bench, record))
        if options.out:
            record.write(options.out)
    record.machine["took"] = f"{time.monotonic() - began:.0f} s"
    return record


def main(arguments: Sequence[str]) -> int:
    """Compare, print the tables, keep the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, once: about four minutes")
    names = [peer.name for group in peers() for peer in group]
    add = parser.add_argument
    add("--only", action="append", choices=list(SCENARIOS), metavar="SCENARIO", help=", ".join(SCENARIOS))
    add("--peer", action="append", choices=names, metavar="NAME", help=", ".join(map(repr, names)))
    add(
        "--baseline", metavar="COMMIT", help="a commit or a checkout to compare this one with; no other peers"
    )
    parser.add_argument("--rounds", type=int, help="two; with --quick, one; with --baseline, five")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the figures as JSON there")
    parser.add_argument("--remark", default="", metavar="TEXT", help="to be told with the machine")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"), help="on a real disk (/var/tmp)")
    options = parser.parse_args(arguments)
    # So that all that was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    options.rounds = options.rounds or (5 if options.baseline else 1 if options.quick else 2)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=options.work)))
        before: Peer | None = None
        if options.baseline:
            before = baseline(stack.enter_context(checkout(options.baseline, work)), options.baseline)
        record = run(options, work, before)
    if options.out:
        print(f"kept: {record.write(options.out)}", file=sys.stderr)
    print(table(pairs(record.figures)) if options.baseline else markdown(record, rows_of(record.figures)))
    return int(bool(record.failed))
