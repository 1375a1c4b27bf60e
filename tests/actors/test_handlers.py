"""Handlers that are declared: the table that they make, their answers, and what mypy holds them to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from actors import Actor, Address, Request, answers, handles
from actors.errors import AskRefused
from tests.actors.world import Answer, Note, Question, World, outcome

ROOT = Path(__file__).resolve().parents[2]


class Count(Request[int], frozen=True):
    pass


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    @handles(Note)
    def add(self, note: Note) -> None:
        self.count += len(note.text)

    @answers(Count)
    def tell_count(self, count: Count) -> int:
        return self.count

    @handles(Question)
    def decline(self, question: Question) -> None:
        self.context.refuse(f"ask another than {self.context.address.actor}")


class Doubling(Counter):
    def add(self, note: Note) -> None:
        self.count += 2 * len(note.text)

    @handles(Answer)
    def take(self, answer: Answer) -> None:
        self.count = 0


def test_what_a_method_returns_is_the_reply() -> None:
    world = World()
    runtime = world.process("a")
    counter = runtime.spawn(Counter, "counter")
    runtime.tell(counter, Note("four"))
    ends = outcome(runtime.ask(counter, Count(), 1.0))
    world.settle()
    assert ends == [4]


def test_a_subclass_adds_to_the_table_and_overrides_by_name() -> None:
    world = World()
    runtime = world.process("a")
    counter = runtime.spawn(Doubling, "counter")
    runtime.tell(counter, Note("four"))
    ends = outcome(runtime.ask(counter, Count(), 1.0))
    world.settle()
    assert ends == [8]
    assert set(Doubling.handlers) == {Note, Count, Question, Answer}
    assert set(Counter.handlers) == {Note, Count, Question}


def test_two_handlers_for_one_message_are_refused_as_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="handles Note by one and by two"):

        class Torn(Actor):
            @handles(Note)
            def one(self, note: Note) -> None: ...

            @handles(Note)
            def two(self, note: Note) -> None: ...


def test_a_handler_is_for_a_type() -> None:
    with pytest.raises(TypeError, match="for a type of messages"):
        handles("Note")  # type: ignore[arg-type]


def test_an_actor_can_answer_that_it_will_not() -> None:
    world = World()
    here, there = world.process("a"), world.process("b", "a")
    here.spawn(Counter, "counter")
    world.settle()
    ends = outcome(there.ask(Address("a", "counter"), Question("?"), 1.0))
    world.settle()
    assert [type(end) for end in ends] == [AskRefused]
    assert str(ends[0]) == "a/counter: ask another than counter"


WRONG = """
from actors import Actor, Address, Context, Request, answers, handles
import msgspec

class Pids(msgspec.Struct): ...
class Who(Request[Pids], frozen=True): ...
class Ping(msgspec.Struct): ...

class Player(Actor):
    @handles(Ping)
    def on_ping(self, ping: Ping) -> None: ...
    @handles(Ping)
    async def on_ping_later(self, ping: Ping) -> None: ...
    @answers(Who)
    def on_who(self, who: Who) -> Pids: return Pids()
    @answers(Who)
    async def on_who_later(self, who: Who) -> Pids: return Pids()
    @handles(Ping)
    def swapped(self, who: Who) -> None: ...
    @answers(Who)
    def swapped_too(self, ping: Ping) -> Pids: return Pids()
    @answers(Who)
    def wrong_reply(self, who: Who) -> int: return 1
    @answers(Who)
    async def wrong_reply_later(self, who: Who) -> int: return 1

def ask(context: Context, to: Address) -> int:
    pids: Pids = context.ask(to, Who(), 1.0).result()
    number: int = context.ask(to, Who(), 1.0).result()
    return number
"""


def test_mypy_finds_swapped_handlers_and_wrong_replies(tmp_path: Path) -> None:
    pytest.importorskip("mypy")  # Of the extra `dev`; the gate has it for the check of types.
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
        str(program),
    ]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    lines = WRONG.splitlines()
    wrong = [int(line.split(":")[1]) - 1 for line in said.splitlines() if ": error:" in line]
    found = [lines[number].strip() for number in wrong]
    assert (
        found
        == [
            "def swapped(self, who: Who) -> None: ...",
            "def swapped_too(self, ping: Ping) -> Pids: return Pids()",
            "def wrong_reply(self, who: Who) -> int: return 1",
            "async def wrong_reply_later(self, who: Who) -> int: return 1",
            "return number",
        ]
        or wrong
    ), said
    assert len(wrong) == 5, said


def test_requests_travel_like_other_messages() -> None:
    class Find(Request[int], frozen=True):
        name: str

    sent = msgspec.msgpack.encode(Find("x"))
    assert msgspec.msgpack.decode(sent, type=Find) == Find("x")
