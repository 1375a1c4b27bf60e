"""How an embedded node can end other than by being left.

Owns the hierarchy. Each class says what helps: another configuration, another look, another id.
"""

from __future__ import annotations

import re

_OPTION = re.compile(r"(?<!\S)--([a-z]+(?:-[a-z]+)*)")
_SWITCHES = {"existing", "join", "repair_from_peers", "lease_reads", "fault_injection"}
_ARGUMENTS = {"peer": "peers"}


def in_arguments(text: str) -> str:
    """What a node says, with the arguments of AsyncNode and Node in place of its command line's options."""

    def argument(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return f"{_ARGUMENTS.get(name, name)}={'True' if name in _SWITCHES else '...'}"

    return _OPTION.sub(argument, text)


class NodeError(Exception):
    """The root; the text is the node's own last words where it had any, in terms of this library."""

    def __init__(self, text: str) -> None:
        super().__init__(in_arguments(text))


class NodeRefused(NodeError):
    """It cannot run like this, and could not the next time: the text says what to change.

    A bad endpoint, a taken port, a foreign, damaged or lost data directory, a machine that is none.
    """


class NodeFailed(NodeError):
    """It ended again and again, or what starts it is gone: it was given up."""


class NodeRemoved(NodeError):
    """It is no member of its cluster any more, and its id will never be one again."""
