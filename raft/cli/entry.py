"""The fast path: a known verb loads only its own module.

Owns which module a verb is in. A command line that does not begin with such a verb (help, a typing error)
takes the slow path, where all verbs are loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from actors.processes.loading import loading
from raft.cli.config_paths import files

if TYPE_CHECKING:
    from actors.processes.child import ForkServer

_VERBS = {
    "cluster.lifecycle": ("up", "down"),
    "observe.status": ("status", "leader", "wal"),
    "observe.records": ("report", "events", "logs"),
    "data.store": ("put", "get", "del", "cas"),
    "data.transactions": ("txn",),
    "lab.reports": ("judge", "timeline"),
    "cluster.membership": ("transfer", "step-down"),
    "lab.faults": (
        "kill", "stop", "start", "restart", "pause", "resume", "partition", "isolate", "heal", "link", "disk",
        "faults", "snapshot", "clock",
    ),
}  # fmt: skip
HOMES = {verb: f"raft.cli.verbs.{module}" for module, verbs in _VERBS.items() for verb in verbs}


def run(
    arguments: Sequence[str], fork_server: ForkServer | None, started_seconds: float, ready_fd: int
) -> int:
    """Run one command line, for which `fork_server` was started if it is `up`; returns the exit code."""
    verb = arguments[2:3] if arguments[:1] == ["--cluster"] else arguments[:1]
    if fork_server is not None:
        verb = ["up"]  # Which may have been left out.
    if arguments[:1] == ["__complete"]:
        from raft.cli.terminal.shells import print_completions

        return print_completions(list(arguments[1:]))
    # Defaults in files may be for any verb, so all verbs must be loaded.
    home = HOMES.get(verb[0]) if verb and not files() else None
    if home is None:
        from raft.cli import main

        return main.run(arguments, fork_server, started_seconds, ready_fd)
    with loading():
        importlib.import_module(home)
        from raft.cli.app import Session, run_verb

    session = Session(fork_server=fork_server, started_seconds=started_seconds, ready_fd=ready_fd)
    return run_verb(arguments, session)
