"""Choosing nodes by what is typed: `3`, `n3`, `1,2,4`, `leader`, `followers`, `all`, `random:2`.

Owns the notation and its meaning against a picture of the cluster. Knows nothing of what is
then done to the nodes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection

from msgspec import Struct

from raft.cluster.failures import BadUsage, NoLeader, VerbFailed

_NODE = re.compile(r"n?([1-9][0-9]{0,3})", re.ASCII)
_RANDOM = re.compile(r"random(?::([0-9]{1,4}))?", re.ASCII)
_WORDS = {"leader", "followers", "all"}


class NothingMatches(VerbFailed):
    """A selector is well formed, and no node, or too few, are as it asks."""


class Picture(Struct, frozen=True):
    """The cluster as a selector sees it.

    `eligible` are the nodes that the verb could be carried out on; words that mean groups
    choose among them. A node named by number is chosen whether eligible or not: the verb refuses it by name.
    """

    nodes: tuple[int, ...]
    eligible: tuple[int, ...]
    leader: int = 0


def check_selector(text: str) -> str:
    """Return `text` if it is well formed; raises BadUsage. Says nothing about whether it matches."""
    for part in _parts(text):
        if part not in _WORDS and not _NODE.fullmatch(part) and not _is_random(part):
            raise BadUsage(
                f"{part!r:.100} chooses no node: write an id (3 or n3), ids (1,2,4), "
                "leader, followers, all, random or random:2"
            )
    return text


def select(text: str, picture: Picture, rng: random.Random) -> list[int]:
    """The nodes that `text` means, each once, in the order in which it names them.

    Raises BadUsage for an id outside the cluster, NoLeader where a leader is needed and none stands,
    VerbFailed when nothing matches.
    """
    check_selector(text)
    chosen: dict[int, None] = {}
    for part in _parts(text):
        chosen.update(dict.fromkeys(_meaning(part, picture, rng)))
    if not chosen:
        raise NothingMatches(f"no node matches {text!r} now")
    return list(chosen)


def select_one(text: str, picture: Picture, rng: random.Random) -> int:
    """Like `select`, but must mean exactly one node."""
    chosen = select(text, picture, rng)
    if len(chosen) > 1:
        raise BadUsage(
            f"{text!r} means {len(chosen)} nodes ({names(chosen)}), and only one can be meant here"
        )
    return chosen[0]


def names(nodes: Collection[int]) -> str:
    """Nodes as they are written for people: `n1 n2 n5`."""
    return " ".join(f"n{node}" for node in nodes)


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


def _meaning(part: str, picture: Picture, rng: random.Random) -> Collection[int]:
    if part == "all":
        return picture.eligible
    if part in ("leader", "followers"):
        if not picture.leader:
            raise NoLeader(f"{part!r} means nothing now: the cluster has no leader")
        if part == "leader":
            return [picture.leader]
        return [node for node in picture.eligible if node != picture.leader]
    if found := _RANDOM.fullmatch(part):
        count = int(found[1] or 1)
        if count > len(picture.eligible):
            raise NothingMatches(
                f"{part!r} wants {count} nodes, and only {len(picture.eligible)} can be chosen now"
            )
        return sorted(rng.sample(picture.eligible, count))
    found = _NODE.fullmatch(part)
    assert found is not None, f"{part!r} passed the check and means nothing"
    node = int(found[1])
    if node not in picture.nodes:
        raise BadUsage(f"there is no node {node}: the cluster has {names(sorted(picture.nodes))}")
    return [node]
