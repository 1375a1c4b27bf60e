"""Actors with consensus or a disk beneath them: state that outlives them, one of a kind, and names to trust.

Owns what `actors` itself must not know: it is built on `actors`, on the client library and on the storage.
A name is imported when it is first asked for, so that an actor with a disk does without the client.
"""

import importlib

TYPE_CHECKING = False  # Type checkers take it for typing's.
if TYPE_CHECKING:
    from raft.actors.persistence import PersistentActor
    from raft.actors.registry import Holder, NameRegistry
    from raft.actors.singleton import Singleton, spawn_singleton

_HOMES = {
    "Holder": "raft.actors.registry",
    "NameRegistry": "raft.actors.registry",
    "PersistentActor": "raft.actors.persistence",
    "Singleton": "raft.actors.singleton",
    "spawn_singleton": "raft.actors.singleton",
}

__all__ = ["Holder", "NameRegistry", "PersistentActor", "Singleton", "spawn_singleton"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
