"""The other members: what their processes are called, where they listen, and which of them are up.

Owns the members' endpoints, which travel with the configuration changes that add them. Knows nothing
of how the membership changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from raft.protocol.registry import process_of

_ENDPOINTS = msgspec.msgpack.Decoder(dict[int, str])


class Peers:
    """Every known member by id; `endpoints` includes this node's own, `voters` are the current voters.

    `removed` are former members, by the index of the entry that removed each.
    """

    def __init__(self, node: int, endpoint: str, voters: Collection[int]) -> None:
        self.voters = voters
        self.endpoints: dict[int, str] = {node: endpoint}
        self.agreed: dict[int, str] = {}
        """Endpoints of members from the entries that this process has applied."""
        self.removed: dict[int, int] = {}
        self.up: set[int] = set()
        self.nodes: dict[str, int] = {}
        """The members, but this one, by the names of their processes."""
        self._node = node

    @property
    def quorum_up(self) -> bool:
        """This node and the voters that are up are a majority."""
        return self.are_quorate(self.voters)

    def are_quorate(self, voters: Collection[int]) -> bool:
        """Of these voters a majority is up, this node among them."""
        return sum(1 for voter in voters if voter in self.up or voter == self._node) > len(voters) // 2

    def node_of(self, process: str) -> int:
        """The member of a process; 0 if it is none."""
        return self.nodes.get(process, 0)

    def add(self, peer: int, endpoint: str) -> bool:
        """Learn of a member; whether it is new, or listens elsewhere now."""
        self.removed.pop(peer, None)
        if peer == self._node or self.endpoints.get(peer) == endpoint:
            return False
        self.endpoints[peer] = endpoint
        self.nodes[process_of(peer)] = peer
        return True

    def remove(self, peer: int, index: int) -> None:
        """Know of a member only that it was removed by the entry at `index`."""
        self.removed[peer] = index
        if peer != self._node:
            self.endpoints.pop(peer, None)
            self.agreed.pop(peer, None)
            self.nodes.pop(process_of(peer), None)
            self.up.discard(peer)


def encode_endpoints(endpoints: Mapping[int, str]) -> bytes:
    """Where the nodes that a configuration change adds listen: the change's context."""
    return msgspec.msgpack.encode(dict(endpoints))


def decode_endpoints(context: bytes) -> dict[int, str]:
    """What `encode_endpoints` wrote; nothing for a change that was made without."""
    try:
        return _ENDPOINTS.decode(context) if context else {}
    except msgspec.DecodeError:
        return {}
