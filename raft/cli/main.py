"""A launcher process from its command line to its exit code.

Owns the list of all verbs. Loaded only after the nodes were requested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from raft.cli.app import Session, app, run_verb
from raft.cli.terminal import shells
from raft.cli.verbs.cluster import backup, data_directory, keys, lifecycle, membership, render
from raft.cli.verbs.data import leases, locks, store, transactions, watches
from raft.cli.verbs.lab import chaos, faults, reports, simulation
from raft.cli.verbs.observe import (
    actors,
    health,
    live,
    metrics,
    performance,
    records,
    status,
    tour,
    tune,
)

__all__ = ["app", "run"]  # With this module imported, `app` has all verbs.

if TYPE_CHECKING:
    from actors.processes.child import ForkServer

VERB_MODULES = (  # Help shows the verbs in this order.
    lifecycle,
    keys,
    data_directory,
    backup,
    render,
    shells,
    status,
    live,
    tour,
    records,
    health,
    metrics,
    actors,
    performance,
    tune,
    faults,
    simulation,
    chaos,
    reports,
    membership,
    store,
    transactions,
    leases,
    locks,
    watches,
)

_ORDER = [module.__name__ for module in VERB_MODULES]
app.registered_commands.sort(key=lambda verb: _ORDER.index(verb.callback.__module__) if verb.callback else 0)


def run(
    arguments: Sequence[str], fork_server: ForkServer | None, started_seconds: float, ready_fd: int
) -> int:
    """Run one command line; returns the exit code."""
    session = Session(fork_server=fork_server, started_seconds=started_seconds, ready_fd=ready_fd)
    return run_verb(arguments, session)
