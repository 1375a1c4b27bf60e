"""Bytes: what goes in comes out, and what is no frame harms no process."""

from __future__ import annotations

import os
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorInfo, Address, CrashReport, Terminated
from actors.codec import FrameBuilder, Registry, read_envelopes
from actors.envelope import DIRECTORY_TAG_MAX, SYSTEM_TAGS, Refused
from actors.errors import UnregisteredMessage
from actors.transport.base import Received
from tests.actors.world import REGISTRY, Handshake, Note, Probe, World, notes

MESSAGES = st.one_of(
    st.builds(Note, st.text()),
    st.builds(Handshake, st.builds(Address, st.text(), st.text())),
    st.builds(Refused, st.text(), st.booleans()),
)


@given(st.lists(st.tuples(st.text(), st.text(), st.integers(-(2**62), 2**62), MESSAGES)))
def test_a_frame_gives_back_what_was_put_in(queued_messages: list[tuple[str, str, int, object]]) -> None:
    builder = FrameBuilder(REGISTRY)
    for queued in queued_messages:
        builder.add(*queued)
    envelopes, broken = read_envelopes(builder.take())
    assert broken == 0
    assert [
        (e.to, e.sender, e.correlation, REGISTRY.decode(e.tag, e.payload)) for e in envelopes
    ] == queued_messages
    assert read_envelopes(builder.take()) == ([], 0)


@pytest.mark.parametrize("correlation", [2**62 + 1, -(2**62) - 1, 2**64 - 1])
def test_a_correlation_whose_reply_could_not_be_written_is_no_correlation(correlation: int) -> None:
    payload = msgspec.msgpack.encode([["probe", "x", correlation, 1, ["text"]]])
    assert read_envelopes(payload) == ([], 1)


def test_a_type_has_one_tag_and_tags_are_positive() -> None:
    with pytest.raises(ValueError, match="one tag"):
        Registry({1: Note, 2: Note})
    for tag in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            Registry({tag: Note})


def test_the_tags_of_the_runtime_are_negative_and_of_one_byte_but_for_those_of_its_directory() -> None:
    assert all(-32 <= tag < 0 or tag <= DIRECTORY_TAG_MAX for tag in SYSTEM_TAGS)
    assert ActorInfo in SYSTEM_TAGS.values()


def test_a_payload_that_is_not_what_its_tag_promises_is_one_dead_letter_among_good_ones() -> None:
    world = World()
    a = world.process("a")
    _, seen = world.probe(a)
    good, bad = {"text": "good"}, {"text": 5}
    rows = [
        ["probe", "x", 0, 1, good],
        ["probe", "x", 0, 1, bad],
        ["probe", "x", 0, 99, good],
        ["probe", "x", 0, 1, good],
    ]
    a.office.receive(Received("b", 1, msgspec.msgpack.encode(rows)))
    world.settle()
    assert notes(seen) == ["good", "good"]
    assert a.dead_letters.counts == {"undecodable": 2}


def test_a_stranger_cannot_tell_an_actor_of_a_death() -> None:
    world = World()
    a = world.process("a")
    _, seen = world.probe(a)
    builder = FrameBuilder(REGISTRY)
    builder.add("probe", "x", 0, Terminated(Address("c", "friend"), "so they say"))
    a.office.receive(Received("b", 1, builder.take()))
    world.settle()
    assert seen == []
    assert a.dead_letters.counts == {"undecodable": 1}


@pytest.mark.parametrize(("about", "believed"), [("b", True), ("c", False)])
def test_a_process_reports_crashes_of_its_own_actors_only(about: str, believed: bool) -> None:
    world = World()
    a = world.process("a")
    _, seen = world.probe(a)
    report = CrashReport(Address(about, "friend"), "Note", "ValueError: bad", "Traceback", "none")
    builder = FrameBuilder(REGISTRY)
    builder.add("probe", "x", 0, report)
    a.office.receive(Received("b", 1, builder.take()))
    world.settle()
    assert seen == ([report] if believed else [])


def test_garbage_is_counted_and_never_a_crash() -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    source = random.Random(seed)
    world = World()
    a = world.process("a", "b")
    world.process("b")
    address, _ = world.probe(a)
    # Without its bomb: chance does make one of the bytes below.
    world.do(a, address, lambda probe: probe.context.become({Note: Probe.on_any}))
    builder = FrameBuilder(REGISTRY)
    for message in (Note("hello"), Refused("no", True), Handshake(Address("x", "y"))):
        builder.add("probe", "sender", source.choice([0, 1, -1]), message)
    frame = builder.take()
    for _ in range(20_000):
        garbage = bytearray(frame if source.random() < 0.8 else source.randbytes(source.randrange(80)))
        for _ in range(source.randrange(1, 4)):
            if garbage:
                garbage[source.randrange(len(garbage))] = source.randrange(256)
        a.office.receive(Received("b", 1, bytes(garbage)))
    world.settle()
    assert a.dead_letters.counts["undecodable"] > 1000
    assert world.crashes == []


@pytest.mark.parametrize("opening", [b"\x91", b"\x81", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"])
def test_nesting_without_end_and_lengths_that_lie_are_refused(opening: bytes) -> None:
    assert read_envelopes(opening * 100_000) == ([], 1)
    assert read_envelopes(b"\x91\x95\xa1a\xa1b\x00\x01" + opening * 100_000) == ([], 1)


def test_a_message_type_that_was_prepared_needs_no_decoder_when_its_first_message_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry({1: Note, 2: Handshake})
    registry.prepare(Note)
    with monkeypatch.context() as patched:
        patched.setattr(msgspec.msgpack, "Decoder", lambda kind: pytest.fail(f"a decoder for {kind}"))
        assert registry.decode(1, msgspec.msgpack.encode(Note("here"))) == Note("here")
    with pytest.raises(UnregisteredMessage):
        registry.prepare(Address)
