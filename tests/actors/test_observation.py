"""A system seen from outside: what is measured, for how long, by whom, and what it costs otherwise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from actors import Address, MailboxPolicy, ProcessSystem, RestartPolicy
from actors.__main__ import main
from actors.envelope import Observe, ProcessLoad, Trace, Traced
from actors.errors import AskRefused
from actors.observation.observer import RECORDS_KEPT_MAX, RECORDS_TOLD_MAX
from actors.observation.tables import duration, figures_of
from actors.transport.curve import generate
from tests.actors.awaiting import TAGS as AWAITING_TAGS
from tests.actors.awaiting import Awaiting, Loop
from tests.actors.test_hosts import host_of
from tests.actors.workers import TAGS, Done, Job, Worker
from tests.actors.world import AT_ONCE, Bomb, Do, Note, Probe, Question, World, echo, outcome

ROOT = Path(__file__).resolve().parents[2]


class Scene:
    """A process with a probe, and another one that looks at it."""

    def __init__(self, **options: Any) -> None:
        self.world = World()
        self.watched = self.world.process("a", supervision=RestartPolicy(max_restarts=9, backoff=AT_ONCE))
        self.onlooker = self.world.process("b", "a")
        self.world.settle()
        self.probe, self.seen = self.world.probe(self.watched, **options)
        self.other, _ = self.world.probe(self.watched, "other")

    def ask(self, request: Observe | Trace) -> Any:
        ends = outcome(self.onlooker.ask(Address("a", ""), request, 1.0))
        self.world.settle()
        return ends[0]

    def load(self) -> ProcessLoad:
        load = self.ask(Observe(3.0))
        assert isinstance(load, ProcessLoad)
        return load

    def trace(self, after: int = 0, actor: str = "probe") -> Traced:
        traced = self.ask(Trace(actor, after, 3.0))
        assert isinstance(traced, Traced), traced
        return traced

    def takes(self, seconds: float) -> None:
        """Tell the probe something that takes so long."""
        self.world.do(self.watched, self.probe, lambda _: self.world.clock.advance(seconds))

    def tell(self, message: object) -> None:
        self.onlooker.tell(self.probe, message)
        self.world.settle()

    @property
    def measures(self) -> bool:
        return self.watched.is_measured


def test_handlers_are_timed_by_actor_and_message_while_a_process_is_looked_at() -> None:
    scene = Scene()
    scene.takes(0.5)
    assert scene.load().handlers == (), "what came before was not measured"
    scene.takes(0.25)
    scene.takes(0.75)
    scene.tell(Note("quick"))
    load = scene.load()
    times = {(time.actor, time.message): time for time in load.handlers}
    slow = times["probe", "Do"]
    assert (slow.count, slow.seconds, slow.longest_seconds) == (2, 1.0, 0.75)
    assert times["probe", "Note"].count == 1
    assert load.pid == os.getpid()
    assert load.memory_bytes > 0
    assert {info.address.actor for info in load.info.actors} == {"probe", "other"}


def test_a_process_that_is_not_looked_at_any_more_measures_nothing_and_pays_nothing() -> None:
    scene = Scene()
    assert not scene.measures
    mailbox = scene.watched.office.cells["probe"].mailbox
    scene.load()
    scene.trace()
    assert scene.measures
    scene.world.advance(2.0)
    scene.trace()
    scene.world.advance(2.0)
    assert scene.measures, "the trace was asked for again"
    scene.world.advance(1.5)
    assert not scene.measures
    assert scene.watched.office.cells["probe"].mailbox is mailbox
    scene.takes(1.0)
    assert scene.load().handlers == ()


def test_a_trace_has_the_sender_the_message_how_long_it_waited_and_took_and_what_came_of_it() -> None:
    scene = Scene(on_question=echo)
    scene.trace()
    scene.world.do(scene.watched, scene.other, lambda actor: actor.context.tell(scene.probe, Note("x")))
    scene.takes(0.5)
    outcome(scene.onlooker.ask(scene.probe, Question("?"), 1.0))
    scene.world.settle()
    records = scene.trace().records
    assert [(str(record.sender), record.message, record.outcome) for record in records] == [
        ("a/other", "Note", "handled"),
        ("None", "Do", "handled"),
        ("b/", "Question", "answered"),
    ]
    assert [record.took_seconds for record in records] == [0.0, 0.5, 0.0]
    assert records[0].waited_seconds == 0.0
    assert scene.trace(records[1].number).records == records[2:], "only what came behind"


def test_a_message_waits_while_its_actor_is_busy_and_that_is_told() -> None:
    scene = Scene()
    scene.trace()

    def be_busy(actor: Probe) -> None:
        actor.context.tell(scene.probe, Note("waits"))
        scene.world.clock.advance(0.25)

    scene.world.do(scene.watched, scene.probe, be_busy)
    records = scene.trace().records
    assert [(record.message, record.waited_seconds) for record in records] == [("Do", 0.0), ("Note", 0.25)]


@pytest.mark.parametrize(
    ("act", "message", "outcome"),
    [
        (lambda actor: None, Question("?"), "not answered"),
        (lambda actor: actor.context.stash(), Question("?"), "stashed"),
        (lambda actor: actor.context.reply_handle(), Question("?"), "answer put off"),
        (None, Bomb(), "crashed: RuntimeError: boom"),
        (None, Do(lambda actor: actor.context.stop()), "the actor stopped"),
    ],
)
def test_what_became_of_a_message(act: Any, message: object, outcome: str) -> None:
    handles: list[object] = []
    scene = Scene(on_question=None if act is None else lambda actor, _: handles.append(act(actor)))
    scene.trace()
    if isinstance(message, Do):
        scene.watched.tell(scene.probe, message)
    elif isinstance(message, Question):
        scene.onlooker.ask(scene.probe, message, 1.0)
    else:
        scene.onlooker.tell(scene.probe, message)
    scene.world.settle()
    if outcome == "the actor stopped":
        refused = scene.ask(Trace("probe", 0, 3.0))
        assert isinstance(refused, AskRefused)
        assert "there is no actor probe in a" in str(refused)
    else:
        assert scene.trace().records[0].outcome == outcome


def test_what_finds_no_place_and_what_has_no_handler_are_in_the_trace() -> None:
    scene = Scene(mailbox=MailboxPolicy(messages_max=1))
    scene.trace()
    for text in "abc":
        scene.onlooker.tell(scene.probe, Note(text))
    scene.world.settle()
    scene.watched.tell(scene.probe, 5)
    scene.world.settle()
    found = [(record.message, record.outcome) for record in scene.trace().records]
    assert found == [("Note", "handled"), ("2 messages", "mailbox full"), ("int", "no handler")]


def test_a_trace_goes_on_in_the_next_incarnation_of_its_actor() -> None:
    scene = Scene()
    scene.trace()
    scene.tell(Bomb())
    scene.tell(Note("after"))
    assert [record.message for record in scene.trace().records] == ["Bomb", "Note"]


def test_a_trace_is_bounded_and_says_how_many_it_has_lost() -> None:
    scene = Scene()
    scene.trace()
    for number in range(RECORDS_KEPT_MAX + 10):
        scene.onlooker.tell(scene.probe, Note(str(number)))
        if not number % 500:
            scene.world.settle()
    scene.world.settle()
    first = scene.trace()
    assert (len(first.records), first.lost) == (RECORDS_TOLD_MAX, 10)
    assert scene.trace(first.records[-1].number).lost == 0


def test_two_that_look_at_the_same_actor_both_see_all_of_it() -> None:
    scene = Scene()
    scene.trace()
    scene.tell(Note("x"))
    assert scene.trace().records == scene.trace().records


def test_there_are_not_more_traces_at_once_than_a_process_can_bear() -> None:
    scene = Scene()
    for number in range(17):
        scene.world.probe(scene.watched, f"p{number}")
    answers = [scene.ask(Trace(f"p{number}", 0, 3.0)) for number in range(17)]
    assert [type(answer) for answer in answers] == [Traced] * 16 + [AskRefused]


def test_a_sender_whose_requests_are_judged_may_not_look_into_a_process() -> None:
    world = World()
    watched = world.process("a", judges={"b": lambda _: None, "c": None})
    world.probe(watched)
    for name, answer in (("b", AskRefused), ("c", Traced)):
        onlooker = world.process(name, "a")
        world.settle()
        ends = outcome(onlooker.ask(Address("a", ""), Trace("probe", 0, 1.0), 1.0))
        world.settle()
        assert [type(end) for end in ends] == [answer]
    assert watched.dead_letters.counts == {"not allowed to its sender": 1}


def test_figures_are_those_between_two_looks_and_of_a_new_incarnation_from_its_start_on() -> None:
    scene = Scene()
    first = scene.load()
    scene.takes(0.5)
    scene.world.advance(1.5)
    second = scene.load()
    scene.takes(0.5)
    scene.world.advance(0.5)
    figures = figures_of({"a": second}, {"a": scene.load(), "x": "it does not answer"})
    assert figures.silent == {"x": "it does not answer"}
    assert [(handler.message, handler.busy, handler.mean_seconds) for handler in figures.handlers] == [
        ("Do", 0.5, 0.5)
    ]
    assert figures_of({}, {"a": second}).handlers[0].mean_seconds == 0.5
    assert figures_of({"a": first}, {"a": second}).seconds == 2.0


def test_short_times_have_digits_that_mean_something() -> None:
    assert [duration(seconds) for seconds in (0.0000123, 0.00345678, 0.25, 3.0)] == [
        "12 us",
        "3.46 ms",
        "250 ms",
        "3 s",
    ]


def in_background(system: ProcessSystem, call: Any) -> Any:
    """Let a system's thread work while another one calls something."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    system.run_until(lambda: not thread.is_alive(), 60.0)
    return results[0]


def command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "actors", *map(str, words)]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, **options)


@pytest.mark.processes
def test_top_shows_the_processes_of_a_running_system_and_the_times_of_coroutines() -> None:
    with ProcessSystem(AWAITING_TAGS) as system:
        worker = system.spawn_process(Awaiting, "worker")
        system.wait_for("worker")
        words = ["top", system.directory, "-o", "json", "--watch", 0.2, "--times", 2]
        watching: list[Any] = []
        thread = threading.Thread(target=lambda: watching.append(command(*words)))
        thread.start()
        while thread.is_alive():
            system.ask(worker, Loop())
        assert watching[0].returncode == 0, watching[0].stderr
        figures = json.loads(watching[0].stdout.splitlines()[-1])
        assert {process["process"] for process in figures["processes"]} == {"parent", "worker"}
        waits = [each for each in figures["handlers"] if each["message"] == "Loop"]
        assert waits[0]["mean_seconds"] >= 0.001
        assert "DEAD LETTERS" in in_background(system, lambda: command("top", system.directory)).stdout


@pytest.mark.processes
def test_a_trace_from_outside_ends_by_itself() -> None:
    with ProcessSystem(TAGS) as system:
        worker = system.spawn_process(Worker, "worker")
        system.wait_for("worker")
        tracing: list[Any] = []
        words = ["trace", "worker", system.directory, "--seconds", 1, "-o", "json"]
        thread = threading.Thread(target=lambda: tracing.append(command(*words)))
        thread.start()
        while thread.is_alive():
            assert isinstance(system.ask(worker, Job(1)), Done)
        records = [json.loads(line) for line in tracing[0].stdout.splitlines()]
        assert {(each["message"], each["outcome"]) for each in records} == {("Job", "answered")}
        few = in_background(system, lambda: command("trace", "worker", system.directory, "--seconds", 0.1))
        assert few.stdout.startswith("TIME")
        for words, why in (
            (["trace", "missing", system.directory], "there is no process missing"),
            (["trace", "worker/x", system.directory], "there is no actor x in worker"),
            (["top", system.directory / "none"], "is not the directory of a system"),
            (["top", "--cluster", "other", system.directory], "no process answers"),
        ):
            failed = in_background(system, lambda words=words: command(*words))
            assert failed.returncode == 1
            assert why in failed.stderr


@pytest.mark.processes
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_look_into_a_system() -> None:
    with ProcessSystem(TAGS) as system:
        script = (
            "import locale, os, sys; from actors.__main__ import main;"  # They may not read Python.
            f"os.setuid(65534); sys.exit(main(['top', {str(system.directory)!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        assert "is not the directory of a system: Permission denied" in done.stderr


@pytest.mark.processes
def test_top_finds_the_processes_of_all_hosts_with_a_key_that_they_allow(tmp_path: Path) -> None:
    generate(tmp_path, ["a", "b", "operator"])
    generate(tmp_path / "other", ["stranger"])
    shutil.copy(tmp_path / "allowed.toml", tmp_path / "other" / "allowed.toml")
    ours, there = host_of(tmp_path, "a"), host_of(tmp_path, "b")
    with ProcessSystem(TAGS, host=ours) as here, ProcessSystem(TAGS, host=there) as other:
        here.join("b", there.listen)
        other.spawn_process(Worker, "b.worker")
        other.wait_for("b.worker", 60.0)
        turn = both(here, other)
        while "b.worker" not in here.runtime.peers:
            turn()
        at = f"a={ours.listen}"
        words = ["top", at, "--cluster", "test", "--interval", 0.2, "-o", "json", "--keys"]
        looked: list[Any] = []
        keys = (tmp_path / "operator.toml", tmp_path / "other" / "stranger.toml")
        thread = threading.Thread(target=lambda: looked.extend(command(*words, key) for key in keys))
        thread.start()
        while thread.is_alive():
            turn()
        figures = json.loads(looked[0].stdout)
        assert {process["process"] for process in figures["processes"]} == {"a", "b", "b.worker"}
        assert looked[1].returncode == 1
        assert "no process answers; is the key one that it allows?" in looked[1].stderr


def both(*systems: ProcessSystem) -> Any:
    def turn() -> None:
        for system in systems:
            system.run_until(lambda: False, 0.01)

    return turn


def test_a_command_line_that_means_nothing_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["top", "--interval", "0"], ["trace"], ["trace", "a b"], ["top", "--rows", "0"], []):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    assert main(["top", "a=tcp://127.0.0.1:1", "b"]) == 1
    assert "NAME=ENDPOINT, unlike 'b'" in capsys.readouterr().err
    assert main(["top", "--interval", "1000", "a=tcp://127.0.0.1:1"]) == 1
    assert "an interval has up to 180 seconds" in capsys.readouterr().err


def test_the_one_system_of_this_user_is_found_and_of_several_one_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["top"]) == 1
    assert "no system of this user is running" in capsys.readouterr().err
    with ProcessSystem(TAGS) as one, ProcessSystem(TAGS) as two:
        assert main(["trace", "parent/directory"]) == 1
        said = capsys.readouterr().err
        assert str(one.directory) in said
        assert str(two.directory) in said


def test_a_process_that_is_not_looked_at_has_not_even_loaded_what_measures() -> None:
    script = (
        "import sys, raft.node.process.main, actors.processes.child_main, actors.processes.system;"
        "print([name for name in sys.modules if 'observation' in name])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n"
