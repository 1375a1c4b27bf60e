"""Typed machines: annotations define what is accepted, and equal states have equal bytes."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from raft.machines.machine import MachineError, StateMachine, Versioned, version_of
from raft.machines.testkit import check_machine
from raft.machines.typed import (
    TypedCommand,
    TypedMachine,
    TypedQuery,
    answer_to,
    body_of,
    since,
    version_needed,
)


class Move(TypedCommand[list[str]]):
    """Put a thing into a box; answered by what is in it."""

    thing: str
    box: str


class Vanish(TypedCommand[None]):
    """Let a thing be nowhere."""

    thing: str


class Spell(Vanish):
    """The same under another name."""


class Where(TypedQuery[str | None]):
    """In which box a thing is."""

    thing: str


class State(msgspec.Struct):
    """Which things are in which box."""

    boxes: dict[str, set[str]] = msgspec.field(default_factory=dict)
    moves: list[int] = msgspec.field(default_factory=list)


class Room(TypedMachine[State]):
    """Boxes."""

    def empty(self) -> State:
        return State()

    def carry_out(self, command: Move | Vanish | Spell) -> list[str] | None:
        for things in self.state.boxes.values():
            things.discard(command.thing)
        if not isinstance(command, Move):
            return None
        self.state.moves.append(self.index)
        self.state.boxes.setdefault(command.box, set()).add(command.thing)
        return sorted(self.state.boxes[command.box])

    def answer(self, query: Where) -> str | None:
        return next((box for box, things in self.state.boxes.items() if query.thing in things), None)


class Mute(TypedMachine[int]):
    """Takes no queries."""

    def empty(self) -> int:
        return 0

    def carry_out(self, command: Vanish) -> None:
        self.state += 1


def test_a_command_is_answered_by_the_type_of_its_class() -> None:
    room = Room()
    assert isinstance(room, StateMachine)
    move = Move("hat", "red")
    answer: list[str] = answer_to(move, room.apply(7, body_of(move)))
    assert answer == ["hat"]
    assert room.state.moves == [7]
    assert answer_to(Where("hat"), room.query(body_of(Where("hat")))) == "red"
    assert answer_to(Spell("hat"), room.apply(8, body_of(Spell("hat")))) is None
    assert answer_to(Where("hat"), room.query(body_of(Where("hat")))) is None


def test_a_typed_machine_is_deterministic_and_its_snapshot_is_complete() -> None:
    moves = [Move("hat", "red"), Move("cat", "red"), Move("hat", "blue"), Vanish("cat"), Move("bat", "blue")]
    check_machine(Room, [body_of(move) for move in moves], [body_of(Where("hat"))])


def test_equal_states_have_equal_snapshots() -> None:
    one, other = Room(), Room()
    moves = [Move("hat", "red"), Move("cat", "blue"), Move("bat", "blue")]
    for machine, order in ((one, moves), (other, moves[::-1])):
        for index, move in enumerate(order, 1):
            machine.apply(index, body_of(move))
    assert one.snapshot() == other.snapshot()


def test_an_unknown_command_is_refused_and_changes_nothing() -> None:
    room = Room()
    before = room.snapshot()
    for body in (b"", b"\xff", body_of(Where("hat")), msgspec.msgpack.encode({"type": "Move", "thing": 1})):
        with pytest.raises(msgspec.MsgspecError):
            room.apply(1, body)
    assert room.snapshot() == before


def test_an_answer_of_another_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        answer_to(Move("hat", "red"), msgspec.msgpack.encode(5))


def test_a_machine_without_queries_refuses_them() -> None:
    machine = Mute()
    machine.apply(1, body_of(Vanish("hat")))
    assert machine.state == 1
    with pytest.raises(MachineError, match="Mute answers no queries"):
        machine.query(body_of(Where("hat")))


def test_a_machine_without_commands_is_refused() -> None:
    class Idle(TypedMachine[int]):
        def empty(self) -> int:
            return 0

    with pytest.raises(TypeError, match="carry_out"):
        Idle()  # type: ignore[abstract]


def test_a_missing_annotation_is_named() -> None:
    class Vague(Mute):
        def carry_out(self, command):  # type: ignore[no-untyped-def]
            return command

    with pytest.raises(TypeError, match=r"Vague\.carry_out needs an annotation of the argument"):
        Vague()

    class Open(TypedCommand):  # type: ignore[type-arg]
        """Of an unknown answer."""

    with pytest.raises(TypeError, match="Open does not say what answers it"):
        answer_to(Open(), b"")


class Loose:
    """What msgspec knows nothing of, as a class of pydantic."""


class Packed(msgspec.Struct):
    """A type that msgspec decodes, but for what is in it."""

    things: list[Loose]


@pytest.mark.parametrize("kind", [Loose, Packed, dict[str, Loose], Loose | None])
def test_a_machine_whose_types_cannot_be_decoded_is_refused_when_it_is_made(kind: object) -> None:
    def carry_out(self: object, command: object) -> None: ...

    carry_out.__annotations__["command"] = kind
    machine = type("Machine", (Room,), {"carry_out": carry_out})
    with pytest.raises(TypeError, match="Loose, which msgspec cannot decode"):
        machine()


def test_a_machine_with_a_method_that_awaits_or_yields_is_refused_when_it_is_made() -> None:
    async def awaits(self: object, command: Move) -> None: ...

    def yields(self: object, command: Move) -> object:
        yield

    for method in (awaits, yields):
        with pytest.raises(TypeError, match="must be a plain function"):
            type("Machine", (Room,), {"carry_out": method})()
        with pytest.raises(TypeError, match="must be a plain function"):
            type("Machine", (Room,), {"answer": method})()


class Fold(TypedCommand[None]):
    """A command that grew."""

    since_version = 2
    thing: str
    times: Annotated[int, since(3)] = 1
    tags: Annotated[list[str], since(4), "for people"] = []


def test_a_command_needs_the_version_that_knows_it_and_all_fields_that_it_uses() -> None:
    assert version_needed(Vanish("hat")) == 1
    assert version_needed(Fold("hat")) == 2
    assert version_needed(Fold("hat", times=2)) == 3
    assert version_needed(Fold("hat", times=1, tags=["soft"])) == 4


def test_an_invalid_version_and_a_new_field_without_a_default_are_refused() -> None:
    class Never(TypedCommand[None]):
        since_version = 0

    class Forced(TypedCommand[None]):
        thing: Annotated[str, since(2)]

    for command, words in ((Never(), "not 0"), (Forced("hat"), r"Forced\.thing needs a default")):
        with pytest.raises(TypeError, match=words):
            version_needed(command)
    for version in (0, "2", True, None):
        with pytest.raises(TypeError, match="a whole number from 1"):
            version_of(type("Odd", (Room,), {"version": version})())
    assert version_of(Room()) == 1
    assert isinstance(Room(), Versioned)
