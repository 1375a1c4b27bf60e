"""A cluster whose nodes run on hosts of their own: network namespaces, where they speak by TCP and with keys.

Owns which host is whose, the keys of all, and the cuts between hosts. Knows nothing of what a node does
there. The launcher stays outside, and meets its nodes over ipc, which needs no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from actors.transport.curve import Grant, KeysError, generate
from raft.cluster.failures import VerbFailed
from raft.cluster.faults.registry import Fault
from raft.cluster.namespaces import NAMED, NamespaceHosts

PORT: Final = 7000
NODES_MAX: Final = 99
"""Of all that ever join: their keys are made at once, so that each list has them all."""
OPERATOR: Final = "operator"


class ClusterHosts:
    """Hosts for the nodes of one cluster, made as they are asked for; `keys` is the directory of their keys.

    Raises VerbFailed.
    """

    def __init__(self, hosts: NamespaceHosts, keys: Path) -> None:
        self._hosts = hosts
        self._keys = keys
        self._known: set[int] = set()
        if not keys.exists():
            names = [*(f"n{node}" for node in range(1, NODES_MAX + 1)), OPERATOR]
            try:
                generate(keys, names, {OPERATOR: Grant("operator")})
            except KeysError as error:
                raise VerbFailed(str(error)) from error

    @property
    def client_keys(self) -> str:
        """The key file by which verbs and clients speak to the nodes."""
        return str(self._keys / f"{OPERATOR}.toml")

    def endpoint(self, node: int) -> str:
        """Where a node listens; its host is made, if it is not there yet."""
        if node > NODES_MAX:
            raise VerbFailed(f"on hosts of their own at most {NODES_MAX} nodes can ever join")
        if node not in self._known:
            self._hosts.add(node)
            self._known.add(node)
        return f"tcp://{self._hosts.address(node)}:{PORT}"

    def keys_of(self, node: int) -> str:
        """A node's key file."""
        return str(self._keys / f"n{node}.toml")

    def namespace_of(self, node: int) -> str:
        """The file of the network namespace in which a node runs."""
        return str(NAMED / self._hosts.name(node))

    def cut(self, faults: Iterable[Fault]) -> None:
        """Have the packet filter drop what these faults cut, and nothing else."""
        ways: dict[int, set[int]] = {}
        for fault in faults:
            for source, order in fault.links.items():
                if order.cut:
                    ways.setdefault(source, set()).update(order.to)
        self._hosts.cut(ways)
