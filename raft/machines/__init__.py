"""Deterministic applications that a replicated log drives, and the protocol that all of them follow.

What the author of a machine imports is here, whichever module it belongs to.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raft.machines.commands import Downgrade
    from raft.machines.machine import InParts, MachineError, StateMachine, Versioned
    from raft.machines.testkit import NotDeterministic, check_machine, check_upgrade, replay
    from raft.machines.typed import TypedCommand, TypedMachine, TypedQuery, answer_to, body_of, since

__all__ = [
    "Downgrade",
    "InParts",
    "MachineError",
    "NotDeterministic",
    "StateMachine",
    "TypedCommand",
    "TypedMachine",
    "TypedQuery",
    "Versioned",
    "answer_to",
    "body_of",
    "check_machine",
    "check_upgrade",
    "replay",
    "since",
]

# Loaded when they are asked for: a node or a client needs only some of them.
_MODULES = {
    "machine": ("InParts", "MachineError", "StateMachine", "Versioned"),
    "commands": ("Downgrade",),
    "testkit": ("NotDeterministic", "check_machine", "check_upgrade", "replay"),
    "typed": ("TypedCommand", "TypedMachine", "TypedQuery", "answer_to", "body_of", "since"),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"raft.machines.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
