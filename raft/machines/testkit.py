"""Is a state machine deterministic, and does its snapshot hold all of its state? A check for any of them.

Owns the check within one interpreter: the same log twice, and from a snapshot after every command on.
Knows nothing of other processes, where strings hash otherwise: see `raft.lab.simulation.determinism`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from raft.machines.machine import COMMAND_ERRORS, StateMachine, Versioned, version_of


class NotDeterministic(AssertionError):
    """The machine would let replicas diverge; the text says at which command, and how."""


class Trace(Struct, frozen=True, array_like=True):
    """What a machine answered to a log, and its snapshots: before the first command, and after each one."""

    answers: list[str]
    snapshots: list[bytes]


def check_machine(
    make: Callable[[], StateMachine], log: Sequence[bytes], queries: Sequence[bytes] = ()
) -> None:
    """Check a machine on a log, which had better reach everything that the machine can do.

    `make` makes an empty one. The commands have the indexes 1, 2, 3 and so on. Raises NotDeterministic.
    """
    trace = replay(make(), log)
    compare(trace, replay(make(), log), "at the second time")
    for cut, snapshot in enumerate(trace.snapshots):
        machine = make()
        machine.restore(snapshot)
        rest = replay(machine, log[cut:], first=cut + 1)
        expected = Trace(trace.answers[cut:], trace.snapshots[cut:])
        compare(expected, rest, f"when restored from the snapshot after command {cut}", first=cut)
    _check_queries(make, log, queries)
    machine = make()
    replay(machine, log)
    machine.restore(b"")
    if machine.snapshot() != trace.snapshots[0]:
        raise NotDeterministic('restore(b"") is not the empty state')


def check_upgrade(
    old: Callable[[], StateMachine], new: Callable[[], StateMachine], log: Sequence[bytes]
) -> None:
    """Check that a newer version works beside an older one, on a log of commands that the older one knows.

    While the cluster's version is the older one's, both refuse the same commands, and each reads the
    other's snapshots as its own state: so it is after a downgrade. Raises NotDeterministic.
    """
    one, other = old(), new()
    version = version_of(one)
    _tell(one, version)
    _tell(other, version_of(other))
    _tell(other, version)
    for at, command in enumerate(log, 1):
        answers = [_outcome(machine.apply, at, command) for machine in (one, other)]
        # An answer is a bytes literal; a refusal is the name of its error, a colon and its text.
        if len({answer.startswith(("b'", 'b"')) for answer in answers}) > 1:
            raise NotDeterministic(
                f"command {at} is answered {answers[0]} by the older one, else {answers[1]}"
            )
        for make, mine, others in ((old, one, other), (new, other, one)):
            machine = make()
            _tell(machine, version)
            try:
                machine.restore(others.snapshot())
            except COMMAND_ERRORS as error:
                raise NotDeterministic(
                    f"after command {at}, version {version_of(machine)} cannot read that snapshot: {error}"
                ) from error
            if machine.snapshot() != mine.snapshot():
                raise NotDeterministic(
                    f"after command {at}, version {version_of(machine)} and the other have different states"
                )


def replay(machine: StateMachine, log: Sequence[bytes], first: int = 1) -> Trace:
    """Apply a log whose first command has that index."""
    trace = Trace([], [machine.snapshot()])
    for index, command in enumerate(log, first):
        trace.answers.append(_outcome(machine.apply, index, command))
        trace.snapshots.append(machine.snapshot())
    return trace


def compare(expected: Trace, actual: Trace, when: str, first: int = 0) -> None:
    """NotDeterministic if two runs of a log, or of its part after command `first`, are not the same."""
    if expected.snapshots[0] != actual.snapshots[0]:
        raise NotDeterministic(f"{when}, the machine begins in another state")
    for at, (one, other) in enumerate(zip(expected.answers, actual.answers, strict=True), 1):
        if one != other:
            raise NotDeterministic(f"{when}, command {first + at} is answered {other}, not {one}")
        if expected.snapshots[at] != actual.snapshots[at]:
            raise NotDeterministic(f"{when}, the state after command {first + at} is another one")


def _tell(machine: StateMachine, version: int) -> None:
    if isinstance(machine, Versioned):
        machine.cluster_version_is(version)


def _check_queries(make: Callable[[], StateMachine], log: Sequence[bytes], queries: Sequence[bytes]) -> None:
    machine, restored = make(), make()
    before = replay(machine, log).snapshots[-1]
    restored.restore(before)
    for query in queries:
        answer = _outcome(machine.query, query)
        if _outcome(restored.query, query) != answer:
            raise NotDeterministic(f"the query {query!r} is answered otherwise after a restore")
        if machine.snapshot() != before:
            raise NotDeterministic(f"the query {query!r} changes the state")


def _outcome(ask: Callable[..., bytes], *arguments: int | bytes) -> str:
    try:
        return repr(ask(*arguments))
    except COMMAND_ERRORS as error:
        return f"{type(error).__name__}: {error}"
