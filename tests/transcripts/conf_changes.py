"""Configuration changes as transcripts write them: `v1 l2 r3 u4`."""

from collections.abc import Sequence

from raft.core.changes import (
    AnyConfChange,
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfChangeV2,
    Transition,
)
from tests.transcripts.faults import CommandFailed

KINDS = {
    "v": ConfChangeKind.ADD_VOTER,
    "l": ConfChangeKind.ADD_LEARNER,
    "r": ConfChangeKind.REMOVE,
    "u": ConfChangeKind.UPDATE,
}
TRANSITIONS = {
    "auto": Transition.AUTO,
    "implicit": Transition.JOINT_IMPLICIT,
    "explicit": Transition.JOINT_EXPLICIT,
}


def parse_changes(text: str) -> tuple[ConfChangeSingle, ...]:
    """The steps of a change, in order. Raises CommandFailed."""
    return tuple(_step(word) for word in text.split())


def _step(word: str) -> ConfChangeSingle:
    if len(word) < 2:
        raise CommandFailed(f"unknown token {word}")
    kind = KINDS.get(word[0])
    if kind is None:
        raise CommandFailed(f"unknown input: {word}")
    if not (word[1:].isascii() and word[1:].isdigit()):
        raise CommandFailed(f'strconv.ParseUint: parsing "{word[1:]}": invalid syntax')
    return ConfChangeSingle(kind, int(word[1:]))


def proposal(steps: Sequence[ConfChangeSingle], transition: str, first_version: bool) -> AnyConfChange:
    """The change to propose. Raises CommandFailed if the transition is unknown or v1 can't express it."""
    if transition not in TRANSITIONS:
        raise CommandFailed(f"unknown transition {transition}")
    if not first_version:
        return ConfChangeV2(tuple(steps), TRANSITIONS[transition])
    if len(steps) != 1 or transition != "auto":
        raise CommandFailed("v1 conf change can only have one operation and no transition")
    return ConfChange(steps[0].kind, steps[0].node)
