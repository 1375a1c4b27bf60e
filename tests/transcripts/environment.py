"""What the commands of one transcript act on: nodes, network, output.

Owns them, from an empty environment per file on.
"""

from raft.core.types import NodeId
from tests.transcripts.network import Network
from tests.transcripts.node import Node
from tests.transcripts.output import Output
from tests.transcripts.parser import SyntaxFault


class Environment:
    """A cluster that stands still but for the commands it is given."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, Node] = {}
        self.network = Network()
        self.output = Output()

    def node(self, node_id: NodeId) -> Node:
        """Raises SyntaxFault if there is none of this id."""
        if node_id not in self.nodes:
            raise SyntaxFault(f"there is no node {node_id}")
        return self.nodes[node_id]
