"""Fault injection into clusters, and the checking of what their clients saw.

Owns what only tests, experiments and checkers need: `simulation` of whole clusters, `chaos` among real
processes, `checkers` of histories, `reports` of runs. No node process imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft.lab.simulation.determinism import check_machine

__all__ = ["check_machine"]


def __getattr__(name: str) -> object:
    if name == "check_machine":
        from raft.lab.simulation.determinism import check_machine

        return check_machine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
