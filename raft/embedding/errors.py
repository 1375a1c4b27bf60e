"""How an embedded node can end other than by being left.

Owns the hierarchy. Each class says what helps: another configuration, a look at the log, another id.
"""

from __future__ import annotations

import re

_OPTION = re.compile(r"(?<!\S)--([a-z]+(?:-[a-z]+)*)")
_SWITCHES = {"existing", "join", "repair_from_peers", "lease_reads", "fault_injection"}
_ARGUMENTS = {"peer": "peers"}


def in_arguments(text: str) -> str:
    """A node's output, with the arguments of AsyncNode and Node in place of command-line options."""

    def argument(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return f"{_ARGUMENTS.get(name, name)}={'True' if name in _SWITCHES else '...'}"

    return _OPTION.sub(argument, text)


class NodeError(Exception):
    """The base class; the text is the node's last output, if any, in terms of this library."""

    def __init__(self, text: str) -> None:
        super().__init__(in_arguments(text))


class NodeRefused(NodeError):
    """The node cannot run like this, and a restart would not help: the text says what to change.

    A bad endpoint, a taken port, a foreign, damaged or lost data directory, a machine that is none.
    """


class NodeFailed(NodeError):
    """The node ended repeatedly, or its fork server ended: it is not restarted any more."""


class NodeRemoved(NodeError):
    """The node was removed from its cluster, and its id can never be used again."""
