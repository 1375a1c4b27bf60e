"""Selectors for nodes: `3`, `n3`, `1,2,4`, `leader`, `followers`, `all`, `random:2`.

Owns the notation and its meaning for a given state of the cluster. Knows nothing of what is done to the
selected nodes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection

from msgspec import Struct

from raft.cluster.failures import BadUsage, NoLeader, VerbFailed
from raft.cluster.quantities import count_of

_NODE = re.compile(r"n?([1-9][0-9]{0,3})", re.ASCII)
_RANDOM = re.compile(r"random(?::([0-9]{1,4}))?", re.ASCII)
_WORDS = {"leader", "followers", "all"}


class NothingMatches(VerbFailed):
    """A selector is well formed, but no nodes, or too few, match it."""


class SelectionScope(Struct, frozen=True):
    """The state of the cluster that a selector depends on.

    `eligible` are the nodes that the verb can be carried out on; words for groups select among them. A node
    named by number is selected in any case: the verb then refuses it by name.
    """

    nodes: tuple[int, ...]
    eligible: tuple[int, ...]
    leader: int = 0


def check_selector(text: str) -> str:
    """Return `text` if it is well formed; raises BadUsage. Does not check whether anything matches."""
    for part in _parts(text):
        if part not in _WORDS and not _NODE.fullmatch(part) and not _is_random(part):
            raise BadUsage(
                f"{part!r:.100} is not a selector: write an id (3 or n3), ids (1,2,4), "
                "leader, followers, all, random or random:2"
            )
    return text


def select(text: str, picture: SelectionScope, rng: random.Random) -> list[int]:
    """The nodes that `text` means, each once, in the order of the text.

    Raises BadUsage for an id outside the cluster, NoLeader if a leader is needed and there is none,
    VerbFailed if nothing matches.
    """
    check_selector(text)
    chosen: dict[int, None] = {}
    for part in _parts(text):
        chosen.update(dict.fromkeys(_meaning(part, picture, rng)))
    if not chosen:
        raise NothingMatches(f"no node matches {text!r} now")
    return list(chosen)


def select_one(text: str, picture: SelectionScope, rng: random.Random) -> int:
    """Like `select`, but must mean exactly one node."""
    chosen = select(text, picture, rng)
    if len(chosen) > 1:
        raise BadUsage(f"{text!r} means {len(chosen)} nodes ({names(chosen)}), but only one is allowed here")
    return chosen[0]


def names(nodes: Collection[int]) -> str:
    """The names of nodes in output: `n1 n2 n5`."""
    return " ".join(f"n{node}" for node in nodes)


def voters_in_words(voters: Collection[int]) -> str:
    """As in "3 voters (n1 n2 n3)"."""
    return f"{count_of(len(voters), 'voter')} ({names(voters)})"


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise BadUsage(
            f"{text!r:.100} has an empty place between commas" if text.strip() else "no node was chosen"
        )
    return parts


def _is_random(part: str) -> bool:
    found = _RANDOM.fullmatch(part)
    return found is not None and found[1] != "0"


def _meaning(part: str, picture: SelectionScope, rng: random.Random) -> Collection[int]:
    if part == "all":
        return picture.eligible
    if part in ("leader", "followers"):
        if not picture.leader:
            raise NoLeader(f"{part!r} matches no node now: the cluster has no leader")
        if part == "leader":
            return [picture.leader]
        return [node for node in picture.eligible if node != picture.leader]
    if found := _RANDOM.fullmatch(part):
        count = int(found[1] or 1)
        if count > len(picture.eligible):
            raise NothingMatches(
                f"{part!r} wants {count} nodes, but only {len(picture.eligible)} can be chosen now"
            )
        return sorted(rng.sample(picture.eligible, count))
    found = _NODE.fullmatch(part)
    assert found is not None, f"{part!r} passed the check and means nothing"
    node = int(found[1])
    if node not in picture.nodes:
        raise BadUsage(f"there is no node {node}: the cluster has {names(sorted(picture.nodes))}")
    return [node]
