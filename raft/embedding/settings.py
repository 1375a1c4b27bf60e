"""A program's settings for its node, and the plan that results.

Owns the settings of the supervision, and where files lie. Those of the node itself: see raft.node.settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from msgspec import Struct

from actors.errors import ActorsError
from actors.failures.supervision import RestartPolicy
from raft.durations import Duration, seconds_of
from raft.embedding.errors import NodeRefused
from raft.node.config import BadConfig, NodeConfig, check_not_imported
from raft.node.environment import core_config
from raft.node.settings import NodeSettings, configure

RESTARTS = RestartPolicy(max_restarts=5, window_seconds=30.0)


class Settings(NodeSettings, total=False):
    """Everything but a node's id, its endpoint and its directory; all have defaults."""

    restarts: RestartPolicy
    """How often, and how soon, a node that crashed is started again."""
    stop_seconds_max: Duration
    """How long the node may take to hand over and end before it is killed; 5 by default."""


class Plan(Struct, frozen=True, kw_only=True):
    """Validated settings."""

    config: NodeConfig
    output_path: Path
    """The output of the node's process: truncated whenever the program starts."""
    restarts: RestartPolicy
    stop_seconds_max: float

    @property
    def endpoints(self) -> dict[int, str]:
        """The endpoints of the members known to the program, this node first."""
        return {self.config.node: self.config.address, **self.config.peers}


def plan_of(node: int, listen: str, data_dir: str | Path, settings: Settings) -> Plan:
    """Check the settings of a node; raises NodeRefused for what cannot work, before anything is made."""
    check_not_imported()
    unknown = sorted(set(settings) - set(Settings.__annotations__))
    if unknown:
        raise TypeError(
            f"a node has no setting {unknown[0]!r}; there are {', '.join(Settings.__annotations__)}"
        )
    directory = Path(data_dir).absolute()
    of_node = {name: value for name, value in settings.items() if name in NodeSettings.__annotations__}
    chosen = cast(NodeSettings, of_node)
    peers = dict(settings.get("peers", {}))
    if peers.get(node) in (listen, settings.get("advertise", "")):
        del peers[node]
    beside = directory.with_name(directory.name + ".log")
    chosen["peers"] = peers
    chosen["log_path"] = log_path = Path(settings.get("log_path", beside)).absolute()
    if "keys" in settings:
        chosen["keys"] = Path(settings["keys"]).absolute()
    try:
        config = configure(node, listen, directory, **chosen).check()
        core_config(config, applied=0)
        stop_seconds_max = seconds_of(settings.get("stop_seconds_max", 5.0))
    except (BadConfig, ActorsError, ValueError, TypeError) as error:
        raise NodeRefused(str(error)) from None
    return Plan(
        config=config,
        output_path=log_path.with_name(log_path.name + ".out"),
        restarts=settings.get("restarts", RESTARTS),
        stop_seconds_max=stop_seconds_max,
    )
