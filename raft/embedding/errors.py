"""How an embedded node can end other than by being left.

Owns the hierarchy. Each class says what helps: another configuration, another look, another id.
"""

from __future__ import annotations


class NodeError(Exception):
    """The root; the text is the node's own last words where it had any."""


class NodeRefused(NodeError):
    """It cannot run like this, and could not the next time: the text says what to change.

    A bad endpoint, a taken port, a foreign, damaged or lost data directory, a machine that is none.
    """


class NodeFailed(NodeError):
    """It ended again and again, or what starts it is gone: it was given up."""


class NodeRemoved(NodeError):
    """It is no member of its cluster any more, and its id will never be one again."""
