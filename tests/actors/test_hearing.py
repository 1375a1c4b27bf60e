"""Frames and the books on who was heard, as pure values."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import BadAddress, TransportError
from actors.transport.base import IncarnationUsed, PeerDown, PeerUp, Received
from actors.transport.frames import (
    Frame,
    FrameKind,
    FrameWriter,
    cluster_digest,
    read_frame,
    read_incarnation,
    write_incarnation,
)
from actors.transport.peers import HELD_BYTES_MAX, HELD_FRAMES_MAX, Origin, PeerTracker, may_speak_as

HERE = cluster_digest("here")


def frame(
    sequence: int, payload: bytes = b"", *, name: str = "n2", incarnation: int = 1, cluster: str = "here"
) -> bytes:
    return FrameWriter(cluster, name, incarnation).write(sequence, FrameKind.PAYLOAD, payload)


def hello(name: str = "n2", incarnation: int = 1) -> bytes:
    return FrameWriter("here", name, incarnation).write(1, FrameKind.HELLO, b"")


def heard(tracker: PeerTracker, *frames: bytes, origin: Origin | None = None) -> list[object]:
    for raw in frames:
        tracker.hear(raw, origin or Origin())
    return list(tracker.take_events())


@given(
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=64),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(),
)
def test_a_frame_is_read_as_it_was_written(
    name: str, incarnation: int, sequence: int, payload: bytes
) -> None:
    raw = FrameWriter("here", name, incarnation).write(sequence, FrameKind.PAYLOAD, payload)
    assert read_frame(raw, HERE) == Frame(name.encode(), incarnation, sequence, FrameKind.PAYLOAD, payload)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_reason_and_never_an_exception(raw: bytes) -> None:
    assert isinstance(read_frame(raw, HERE), str)


def test_any_flipped_bit_of_the_header_and_any_cut_is_found() -> None:
    raw = frame(7, b"")
    for bit in range(len(raw) * 8):
        mutated = bytearray(raw)
        mutated[bit // 8] ^= 1 << bit % 8
        assert isinstance(read_frame(bytes(mutated), HERE), str), f"bit {bit}"
    for length in range(len(raw)):
        assert isinstance(read_frame(raw[:length], HERE), str), f"cut at {length}"


def test_each_kind_of_bad_frame_has_its_reason() -> None:
    good = frame(1)
    tracker = PeerTracker("here", 10)
    cases = {
        "short": good[:10],
        "garbage": b"x" * 100,
        "version": good[:3] + b"\x02" + good[4:],
        "corrupt": good[:12] + b"\xff" + good[13:],
        "foreign": frame(1, cluster="elsewhere"),
    }
    for reason, raw in cases.items():
        assert heard(tracker, raw) == []
        assert tracker.dropped == {reason: 1}
        tracker.dropped.clear()


def test_names_and_incarnations_that_do_not_fit_a_header_are_refused() -> None:
    with pytest.raises(BadAddress):
        FrameWriter("here", "n 2", 1)
    with pytest.raises(BadAddress, match="256 bytes"):
        FrameWriter("here", "\U00020000" * 64, 1)
    with pytest.raises(TransportError, match="64 bits"):
        FrameWriter("here", "n2", -1)


def test_a_repeated_or_overtaken_frame_is_dropped() -> None:
    tracker = PeerTracker("here", 10)
    events = heard(tracker, frame(1, b"a"), frame(3, b"c"), frame(2, b"b"), frame(3, b"c"), frame(4, b"d"))
    assert [event.payload for event in events if isinstance(event, Received)] == [b"a", b"c", b"d"]
    assert tracker.dropped == {"repeated": 2}


def test_a_greeting_that_overtakes_does_not_make_a_payload_stale() -> None:
    tracker = PeerTracker("here", 10)
    greeting = FrameWriter("here", "n2", 1).write(9, FrameKind.HELLO, b"")
    assert heard(tracker, greeting, frame(8, b"late")) == [PeerUp("n2", 1), Received("n2", 1, b"late")]


def test_an_older_incarnation_is_not_heard_once_a_later_one_was() -> None:
    tracker = PeerTracker("here", 10)
    assert heard(tracker, frame(5, incarnation=1)) == [PeerUp("n2", 1), Received("n2", 1, b"")]
    assert heard(tracker, frame(1, incarnation=2), frame(6, incarnation=1)) == [
        PeerDown("n2", "restarted"),
        PeerUp("n2", 2),
        Received("n2", 2, b""),
    ]
    assert tracker.dropped == {"older incarnation": 1}


def test_the_last_words_of_a_peer_that_went_down_do_not_bring_it_up() -> None:
    tracker = PeerTracker("here", 10)
    tracker.connection_changed("n2", True)
    assert heard(tracker, hello()) == [PeerUp("n2", 1)]
    tracker.connection_changed("n2", False)
    assert heard(tracker, frame(2, b"last")) == [
        PeerDown("n2", "connection closed"),
        Received("n2", 1, b"last"),
    ]
    tracker.connection_changed("n2", True)
    assert heard(tracker, hello()) == [PeerUp("n2", 1)], "the same incarnation, connected again"


def test_an_incarnation_is_up_only_once_we_would_be_told_of_its_death() -> None:
    tracker = PeerTracker("here", 10)
    tracker.connection_changed("n2", False)
    assert heard(tracker, hello(), frame(2, b"a"), frame(3, b"b")) == []
    tracker.connection_changed("n2", True)
    assert heard(tracker, frame(4, b"c")) == [
        PeerUp("n2", 1),
        Received("n2", 1, b"a"),
        Received("n2", 1, b"b"),
        Received("n2", 1, b"c"),
    ]


def test_what_waits_for_our_connection_is_bounded_and_ends_with_its_incarnation() -> None:
    tracker = PeerTracker("here", 10)
    tracker.connection_changed("n2", False)
    heard(tracker, *(frame(sequence) for sequence in range(1, HELD_FRAMES_MAX + 3)))
    assert tracker.dropped == {"early": 2}
    heard(tracker, frame(1, b"new", incarnation=2))
    tracker.connection_changed("n2", True)
    assert heard(tracker, hello(incarnation=2)) == [PeerUp("n2", 2), Received("n2", 2, b"new")]


def test_a_process_that_is_not_who_it_says_is_dropped() -> None:
    tracker = PeerTracker("here", 10)
    assert heard(tracker, frame(1), origin=Origin(process="n3")) == []
    assert heard(tracker, frame(1), origin=Origin(owner="n3")) == []
    assert heard(tracker, frame(1, name="n2.x"), origin=Origin(owner="n2")) != []
    assert tracker.dropped == {"misnamed": 2}
    assert not may_speak_as("n2", "n22")
    assert not may_speak_as("n2.x", "n2")


def of_route(number: int) -> Origin:
    return Origin(route=b"r%d" % number)


def down(events: list[object]) -> list[str]:
    return [event.process for event in events if isinstance(event, PeerDown)]


def test_only_those_whose_connections_have_gone_are_forgotten_however_many_come() -> None:
    tracker = PeerTracker("here", 3)
    tracker.connection_changed("n1", True)
    heard(tracker, hello("n1"))
    for number in range(5):
        heard(tracker, hello(f"guest{number}"), origin=of_route(number))
    assert tracker.crowded
    tracker.forget_gone(lambda route: route in (b"r0", b"r4"))
    assert down(list(tracker.take_events())) == ["guest1", "guest2", "guest3"]
    assert not tracker.crowded
    assert tracker.route_to("guest0") == b"r0" and tracker.route_to("guest1") is None
    assert heard(tracker, hello("n1"), hello("guest0")) == [], "they are remembered as up"


def test_the_more_stand_the_less_often_those_that_have_gone_are_looked_for() -> None:
    tracker, looks = PeerTracker("here", 3), 0

    def stands(_route: bytes) -> bool:
        nonlocal looks
        looks += 1
        return True

    for number in range(1_000):
        heard(tracker, hello(f"guest{number}"), origin=of_route(number))
        if tracker.crowded:
            tracker.forget_gone(stands)
    assert looks < 2_000 and down(list(tracker.take_events())) == []


def test_a_connection_leads_to_one_process_so_many_names_over_one_take_no_room() -> None:
    tracker = PeerTracker("here", 3)
    events = [
        event
        for number in range(100)
        for event in heard(tracker, hello(f"guest{number}"), origin=of_route(1))
    ]
    assert down(events) == [f"guest{number}" for number in range(99)]
    assert not tracker.crowded and tracker.route_to("guest99") == b"r1"


def test_a_process_that_connects_anew_is_not_forgotten_with_its_former_connection() -> None:
    tracker = PeerTracker("here", 0)
    assert heard(tracker, hello(), origin=of_route(1)) == [PeerUp("n2", 1)]
    assert heard(tracker, hello(), origin=of_route(2)) == []
    assert heard(tracker, hello("n3"), origin=of_route(1)) == [PeerUp("n3", 1)]
    tracker.forget_gone(lambda route: route == b"r2")
    assert down(list(tracker.take_events())) == ["n3"]


def test_incarnations_of_one_process_leave_nothing_behind() -> None:
    tracker = PeerTracker("here", 3)
    for number in range(1, 50):
        heard(tracker, hello(incarnation=number), origin=of_route(number))
    assert tracker.remembered == (1, 1)


def test_only_a_hello_is_answered() -> None:
    tracker = PeerTracker("here", 3)
    assert tracker.hear(hello(), Origin()) == "n2"
    assert tracker.hear(frame(2), Origin()) is None
    assert tracker.hear(FrameWriter("here", "n2", 1).write(3, FrameKind.WELCOME, b""), Origin()) is None


def test_mutated_frames_never_raise() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    tracker = PeerTracker("here", 10)
    for sequence in range(1, 20_000):
        raw = bytearray(frame(sequence, b"payload"))
        raw[rng.randrange(len(raw) - 7)] ^= rng.randrange(1, 256)
        assert tracker.hear(bytes(raw), Origin()) is None, f"seed {seed}"
    assert tracker.take_events() == [], f"seed {seed}"


def test_what_waits_for_connections_of_our_own_is_bounded_in_all() -> None:
    tracker = PeerTracker("here", 4096)
    payload = bytes(HELD_BYTES_MAX // 4)
    for number in range(1, 7):
        tracker.connection_changed(f"n{number}", connected=False)
        heard(tracker, frame(1, payload, name=f"n{number}"))
    assert tracker.dropped["early"] == 2
    tracker.connection_changed("n1", connected=True)
    events = heard(tracker, hello("n1"))
    assert sum(isinstance(event, Received) for event in events) == 1
    heard(tracker, frame(2, payload, name="n6"))
    assert tracker.dropped["early"] == 2


def greeted_again(earlier: int, again: int, sequence: int = 1) -> PeerTracker:
    """Incarnation `earlier` has said much here, and its connection has gone; then `again` greets."""
    tracker = PeerTracker("here", 10)
    heard(
        tracker, *[frame(number, incarnation=earlier) for number in range(1, 50)], origin=Origin(route=b"1")
    )
    greeting = FrameWriter("here", "n2", again).write(sequence, FrameKind.HELLO, b"")
    heard(tracker, greeting, origin=Origin(route=b"2"))
    return tracker


@pytest.mark.parametrize("again", [1, 2, 3])
def test_a_process_that_greets_with_a_number_that_was_used_before_is_told_on_its_own_connection(
    again: int,
) -> None:
    assert greeted_again(3, again).used == [(b"2", write_incarnation(3, 49))]


def test_a_later_incarnation_or_the_same_one_on_another_connection_is_told_nothing() -> None:
    assert greeted_again(3, 4).used == []
    assert greeted_again(3, 3, sequence=50).used == []


@pytest.mark.parametrize(
    ("heard_incarnation", "is_used"), [((5, 8), True), ((6, 0), True), ((5, 7), False), ((4, 90), False)]
)
def test_an_incarnation_finds_out_that_another_one_had_its_number_by_what_it_has_not_said_itself(
    heard_incarnation: tuple[int, int], is_used: bool
) -> None:
    tracker = PeerTracker("here", 10, incarnation=5)
    tracker.sequence = 7
    told = FrameWriter("here", "n2", 1).write(1, FrameKind.USED, write_incarnation(*heard_incarnation))
    expected = [IncarnationUsed("n2", heard_incarnation[0])] if is_used else []
    events = heard(tracker, told, origin=Origin(process="n2"))
    assert [event for event in events if isinstance(event, IncarnationUsed)] == expected


def test_only_a_process_that_was_connected_to_says_that_a_number_was_used() -> None:
    tracker = PeerTracker("here", 10, incarnation=5)
    told = FrameWriter("here", "n2", 1).write(1, FrameKind.USED, write_incarnation(6, 0))
    assert heard(tracker, told, origin=Origin(route=b"1")) == [PeerUp("n2", 1)]


def test_a_damaged_word_on_an_incarnation_says_nothing() -> None:
    word = write_incarnation(6, 9)
    assert read_incarnation(word) == (6, 9)
    for bit in range(len(word) * 8):
        mutated = bytearray(word)
        mutated[bit // 8] ^= 1 << bit % 8
        assert read_incarnation(bytes(mutated)) is None


def frames_of_all_kinds(rng: random.Random) -> tuple[bytes, Origin]:
    """A frame, perhaps late, damaged, foreign, of another incarnation or name; and its connection."""
    name = rng.choice(("n2", "n2", "n3"))
    origin = rng.choice((Origin(route=b"r1"), Origin(route=b"r2"), Origin(process="n2")))
    kind = FrameKind.PAYLOAD if rng.random() < 0.8 else FrameKind.HELLO
    writer = FrameWriter(rng.choice(("here",) * 9 + ("there",)), name, rng.choice((1, 1, 1, 1, 2)))
    raw = bytearray(writer.write(rng.randrange(1, 200), kind, b"payload"))
    if rng.random() < 0.1:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw) if rng.random() < 0.95 else bytes(raw[: rng.randrange(len(raw))]), origin


def test_the_short_way_for_further_payloads_says_of_every_frame_what_the_long_way_says() -> None:
    short: Counter[bool] = Counter()
    for seed in range(300):
        rng = random.Random(seed)
        trackers = PeerTracker("here", 10), PeerTracker("here", 10)
        for step in range(60):
            if rng.random() < 0.05:
                process, connected = rng.choice(("n2", "n3")), rng.random() < 0.5
                for tracker in trackers:
                    tracker.connection_changed(process, connected=connected)
            raw, origin = frames_of_all_kinds(rng)
            quick, careful = trackers
            source = origin.route or origin.process
            assert source is not None
            if quick.hear_more(raw, source):
                short[origin.route is None] += 1
            else:
                quick.hear(raw, origin)
            careful.hear(raw, origin)
            assert quick.take_events() == careful.take_events(), f"seed {seed}, step {step}"
            assert [quick.route_to(name) for name in ("n2", "n3")] == [
                careful.route_to(name) for name in ("n2", "n3")
            ], f"seed {seed}, step {step}"
            assert quick.dropped == careful.dropped, f"seed {seed}, step {step}"
            assert quick.instead_of("n2") == careful.instead_of("n2"), f"seed {seed}, step {step}"
            assert [quick.received_bytes(name) for name in ("n2", "n3")] == [
                careful.received_bytes(name) for name in ("n2", "n3")
            ], f"seed {seed}, step {step}"
    assert min(short[False], short[True]) > 40
