"""What is wrong with one message costs no other message anything, nor does it end the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest

from actors import Actor, Address, CrashReport, Handlers, Registry, Runtime
from actors.codec import BROKEN_ENVELOPES_MAX, FrameBuilder, read_envelopes
from actors.errors import CodecError, MessageTooBig, TargetDown, Undeliverable
from actors.failures.crash_reports import print_crash
from actors.transport.base import Received
from actors.transport.loopback import FRAME_BYTES_MAX
from actors.transport.outbox import FRAME_BYTES_SOFT_MAX
from tests.actors.world import REGISTRY, Answer, Note, Probe, Question, World, notes, outcome

SURROGATE = "\ud800"


class Touchy(msgspec.Struct):
    """Raises in the decoder what it is told to."""

    kind: str

    def __post_init__(self) -> None:
        if self.kind == "exit":
            raise SystemExit(0)
        if self.kind == "key":
            raise KeyError(self.kind)


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class NotText(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def two(**options: Any) -> tuple[World, Runtime, Runtime, Address, list[Any]]:
    """Two processes, and a Probe in the second, which has these options."""
    world = World()
    a, b = world.process("a", "b"), world.process("b", **options)
    there, seen = world.probe(b)
    return world, a, b, there, seen


@pytest.mark.parametrize("kind", ["key", "exit"])
def test_a_message_whose_decoding_raises_is_refused_alone_and_its_asker_told(kind: str) -> None:
    tags = Registry({1: Note, 2: Touchy})
    world = World()
    runtime = world.process("b", registry=tags)
    _, seen = world.probe(runtime)
    a = world.process("a", "b")
    world.settle()
    builder = FrameBuilder(tags)
    builder.add("probe", "x", 0, Note("before"))
    envelope = msgspec.msgpack.encode(["probe", "x", 5, 2, {"kind": kind}])
    builder.add_encoded(envelope)
    builder.add("probe", "x", 0, Note("behind"))
    answered: list[Any] = []
    a.office.asks.settle = lambda process, correlation, reply: answered.append((correlation, reply)) or True  # type: ignore
    runtime.office.receive(Received("a", 1, builder.take()))
    world.settle()
    assert notes(seen) == ["before", "behind"]
    ((correlation, refused),) = answered
    assert correlation == 5
    assert not refused.delivered
    assert {"key": "KeyError", "exit": "SystemExit"}[kind] in refused.reason
    assert world.crashes == []


@pytest.mark.parametrize(
    "text", [SURROGATE, object(), 2**70, nested(100_000)], ids=["surrogate", "object", "number", "nested"]
)
def test_a_message_that_cannot_be_encoded_is_an_error_to_its_sender_and_its_neighbours_arrive(
    text: Any,
) -> None:
    world, a, _, there, seen = two()
    a.tell(there, Note("before"))
    with pytest.raises(CodecError, match="Note cannot be encoded"):
        a.tell(there, Note(text))
    with pytest.raises(CodecError, match="Question cannot be encoded"):
        a.ask(there, Question(text), 5.0)
    a.tell(there, Note("behind"))
    world.settle()
    assert notes(seen) == ["before", "behind"]
    assert len(a.office.asks) == 0


def test_what_is_nested_too_deeply_to_be_read_costs_its_neighbours_nothing() -> None:
    world, _, b, _, seen = two()
    builder = FrameBuilder(REGISTRY)
    builder.add("probe", "x", 0, Note("before"))
    deep = msgspec.msgpack.encode(["probe", "x", 9, 1])[1:]
    builder.add_encoded(b"\x95" + deep + b"\x91" * 5000 + b"\xc0")
    builder.add_encoded(b"\xc0")
    builder.add("probe", "x", 0, Note("behind"))
    frame = builder.take()
    envelopes, broken = read_envelopes(frame)
    assert ([envelope.correlation for envelope in envelopes], broken) == ([0, 9, 0], 1)
    b.office.receive(Received("a", 1, frame))
    world.settle()
    assert notes(seen) == ["before", "behind"]
    assert b.dead_letters.counts["undecodable"] == 2


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -1, 127, 128, -33, 2**16, 2**32, 2**63, -(2**63), 1.5),
        *("", "x" * 31, "x" * 32, "x" * 300, "x" * 70_000, b"x", b"x" * 300, b"x" * 70_000),
        *([], [1] * 15, [1] * 16, [1] * 70_000, {}, {"k": [{}]}, {str(n): n for n in range(16)}),
        {str(n): n for n in range(70_000)},
        msgspec.msgpack.Ext(1, b"x"),
        msgspec.msgpack.Ext(1, b"x" * 16),
        msgspec.msgpack.Ext(1, b"x" * 300),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_every_kind_of_value_is_stepped_over_when_a_frame_is_read_one_by_one(value: object) -> None:
    good = ["to", "from", 1, 1, value]
    frame = msgspec.msgpack.encode([good, None, good])
    envelopes, broken = read_envelopes(frame)
    if isinstance(value, dict | list) and len(value) > 60_000:
        assert broken, "more values than are looked at"
    else:
        payload = msgspec.msgpack.encode(value)
        assert [bytes(envelope.payload) for envelope in envelopes] == [payload, payload]
        assert broken == 1


def test_a_frame_of_nothing_but_rubbish_takes_no_more_time_than_some_of_it() -> None:
    _, broken = read_envelopes(msgspec.msgpack.encode([None] * 1_000_000))
    assert broken == BROKEN_ENVELOPES_MAX + 1


def test_a_message_over_the_limit_is_an_error_to_its_sender_and_its_neighbours_arrive() -> None:
    world, a, _, there, seen = two()
    a.tell(there, Note("before"))
    with pytest.raises(MessageTooBig, match="send it in parts"):
        a.tell(there, Note("x" * FRAME_BYTES_MAX))
    with pytest.raises(MessageTooBig):
        a.ask(there, Question("x" * FRAME_BYTES_MAX), 5.0)
    a.tell(there, Note("behind"))
    world.settle()
    assert notes(seen) == ["before", "behind"]


def test_a_big_message_shares_no_frame_with_what_came_before_and_order_is_kept() -> None:
    world, a, _, there, seen = two()
    refused: list[int] = []
    inner = world.faults["a"].inner
    send = inner.send

    def send_small(process: str, payload: bytes) -> str | None:
        if len(payload) > FRAME_BYTES_SOFT_MAX:
            refused.append(len(payload))
            return "too big"
        return send(process, payload)

    inner.send = send_small  # type: ignore[method-assign]
    a.tell(there, Note("before"))
    a.tell(there, Note("x" * FRAME_BYTES_SOFT_MAX))
    a.tell(there, Note("behind"))
    world.settle()
    assert notes(seen) == ["before", "behind"]
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Probe([]), "Probe has no tag"),
        (Answer(SURROGATE), "Answer cannot be encoded"),
        (Answer("x" * (70 << 20)), "send it in parts"),
    ],
    ids=["untagged", "surrogate", "70 MB"],
)
@pytest.mark.parametrize("later", [False, True])
def test_an_asker_is_told_at_once_when_its_answer_cannot_be_sent(
    answer: object, said: str, later: bool
) -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")

    def on_question(probe: Probe, question: Question) -> None:
        if later:
            probe.context.reply_handle().send(answer)
        else:
            probe.context.reply(answer)

    there, _ = world.probe(b, on_question=on_question)
    ends = outcome(a.ask(there, Question("?"), 30.0))
    world.settle()
    (failure,) = ends
    assert isinstance(failure, TargetDown)
    assert said in str(failure)
    assert world.crashes == []


def test_an_asker_is_told_at_once_when_its_answer_cannot_be_read() -> None:
    _, a, _, there, _ = two()
    ends = outcome(a.ask(there, Question("?"), 30.0))
    a.flush()
    (correlation,) = a.office.asks.open_at("b")
    builder = FrameBuilder(REGISTRY)
    builder.add_encoded(msgspec.msgpack.encode(["", "", -correlation, 3, {"text": 7}]))
    a.office.receive(Received("b", 1, builder.take()))
    (failure,) = ends
    assert isinstance(failure, TargetDown)
    assert "its answer cannot be read here" in str(failure)


@pytest.mark.parametrize(
    "error",
    [ValueError(SURROGATE), Endless(), Mute(), NotText(), ValueError("x" * (70 << 20))],
    ids=["surrogate", "endless", "mute", "not text", "70 MB"],
)
def test_whatever_an_exception_says_its_report_can_be_sent_and_the_loop_goes_on(error: Exception) -> None:
    def pass_on(report: CrashReport) -> None:
        b.tell(watcher, report)

    world, a, b, there, seen = two(on_crash=pass_on)
    watcher, told = world.probe(a, "watcher")

    def fail(probe: Probe, question: Question) -> None:
        raise error

    crashing, _ = world.probe(b, "crashing", on_question=fail)
    ends = outcome(a.ask(crashing, Question("?"), 30.0))
    world.settle()
    (report,) = [message for message in told if type(message) is CrashReport]
    assert report.error.startswith(type(error).__name__)
    assert len(msgspec.msgpack.encode(report)) < 100_000
    assert isinstance(ends[0], TargetDown)
    a.tell(there, Note("still here"))
    world.settle()
    assert notes(seen) == ["still here"]


def test_a_crash_hook_that_raises_is_reported_and_the_loop_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:

    def hook(report: CrashReport) -> None:
        raise OSError("the pager is down")

    world, _, b, there, seen = two(on_crash=hook)
    from tests.actors.world import Bomb

    b.tell(there, Bomb())
    b.tell(there, Note("behind"))
    world.settle()
    assert notes(seen) == ["behind"]
    said = capsys.readouterr().err
    assert "RuntimeError: boom" in said
    assert "OSError: the pager is down" in said


def test_a_report_is_no_crash_when_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    report = CrashReport.of(Address("a", "b"), "Note", ValueError("x"), "nothing")
    for broken in (None, open("/dev/null", "w")):  # noqa: PTH123, SIM115
        if broken is not None:
            broken.close()
        monkeypatch.setattr("sys.stderr", broken)
        print_crash(report)


def test_a_callback_of_a_program_that_raises_is_reported_and_the_frame_is_read_to_its_end() -> None:
    world = World()
    a, b = world.process("a", "b"), world.process("b")
    there, _ = world.probe(b, on_question=lambda probe, question: probe.context.reply(Answer("!")))

    def fail(_reply: object) -> None:
        raise RuntimeError("in a callback")

    a.ask(there, Question("1"), 5.0).then(fail, fail)
    ends = outcome(a.ask(there, Question("2"), 5.0))
    world.settle()
    assert ends == [Answer("!")]
    (report,) = world.crashes
    assert (report.doing, report.error) == ("a callback", "RuntimeError: in a callback")


@pytest.mark.parametrize(
    "broken",
    [
        lambda probe: probe.context.become(None),
        lambda probe: probe.context.become([Note]),
    ],
)
def test_a_table_that_is_none_is_a_crash_of_its_actor_alone(broken: Callable[[Probe], None]) -> None:
    world, a, b, there, seen = two()
    world.do(b, there, broken)
    a.tell(there, Note("behind"))
    world.settle()
    assert notes(seen) == ["behind"]
    assert len(world.crashes) == 1


@pytest.mark.parametrize("wrong", ["handlers", "supervision"])
def test_an_actor_that_is_made_wrong_crashes_alone(wrong: str) -> None:
    world, _, b, there, seen = two()
    made = type("Wrong", (Actor,), {wrong: 7})
    b.spawn(made, "wrong")
    b.tell(there, Note("behind"))
    world.settle()
    assert notes(seen) == ["behind"]
    assert world.crashes[0].doing == "its start"
    assert "int" in world.crashes[0].error


class Leaving(Actor):
    def on_note(self, note: Note) -> None:
        raise SystemExit(0)

    handlers: ClassVar[Handlers] = {Note: on_note}


def test_sys_exit_in_a_handler_is_a_crash_where_processes_are_hosted_and_ends_the_loop_elsewhere() -> None:
    world = World()
    hosted = world.process("a", exit_is_crash=True)
    address = hosted.spawn(Leaving, "leaving")
    ends = outcome(hosted.ask(address, Note("go"), 30.0))
    world.settle()
    assert isinstance(ends[0], TargetDown)
    assert world.crashes[0].error == "SystemExit: 0"
    own = world.process("b")
    own.tell(own.spawn(Leaving, "leaving"), Note("go"))
    with pytest.raises(SystemExit):
        world.settle()


def test_a_reader_whose_descriptor_was_closed_is_forgotten_without_an_error() -> None:
    import os

    from actors.transport.poller import Watch

    watch: Watch[object] = Watch(lambda source: False)
    read, write = os.pipe()
    watch.add_reader(read, lambda: None)
    os.close(read)
    watch.remove_reader(read)
    os.close(write)
    watch.close()


def test_an_ask_of_an_unknown_tag_is_refused_with_words() -> None:
    world, a, _, there, _ = two(registry=Registry({1: Note}))
    ends = outcome(a.ask(there, Question("?"), 30.0))
    world.settle()
    assert isinstance(ends[0], Undeliverable)
    assert "there is no message type with the tag 2" in str(ends[0])
