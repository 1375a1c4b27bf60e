"""A session's numbering: what is acknowledged, and how far a session may be ahead of it."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import AskTimeout, TargetDown
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.sessions import CommandWindow, commit_idempotent
from raft.client.calls.steps import Ask, RetryBudget, Wait
from raft.client.errors import ClientError, CommandRefused, NoLeader, OutcomeUnknown
from raft.machines.codec import decode_call, encode_answer
from raft.machines.commands import SESSION_WINDOW, VALUE_BYTES_MAX, Own, Put
from raft.machines.results import (
    Acknowledged,
    Answer,
    FenceRejected,
    LeaseGone,
    Refused,
    SequenceReused,
    SessionExpired,
    Stored,
    WindowFull,
)
from raft.protocol.client import Committed, Failed, Invalid, NotLeader, OutOfSpace, TooNew, Unknown


def acknowledged_in(body: bytes) -> int:
    call = decode_call(body)
    assert call is not None
    return call.acknowledged


def test_only_what_is_settled_without_a_gap_is_acknowledged() -> None:
    calls = CommandWindow(9)
    (one, _), (two, _), (three, body) = (calls.begin(Own(b"")) for _ in range(3))
    assert (one, two, three) == (1, 2, 3) and acknowledged_in(body) == 0
    calls.end(two)
    four, body = calls.begin(Own(b""))
    assert acknowledged_in(body) == 0
    calls.end(one)
    _, body = calls.begin(Own(b""))
    assert acknowledged_in(body) == 2
    for sequence in (three, four, 5):
        calls.end(sequence)
    assert acknowledged_in(calls.begin(Own(b""))[1]) == 5


def test_a_session_never_runs_further_ahead_than_its_window() -> None:
    calls = CommandWindow(9)
    while not calls.full:
        sequence, body = calls.begin(Own(b""))
        assert sequence <= acknowledged_in(body) + SESSION_WINDOW
    assert sequence == SESSION_WINDOW
    calls.end(1)
    assert not calls.full


def test_a_command_beyond_the_limits_takes_no_number() -> None:
    calls = CommandWindow(9)
    with pytest.raises(CommandRefused):
        calls.begin(Put(b"k", bytes(VALUE_BYTES_MAX + 1)))
    assert calls.begin(Own(b""))[0] == 1


class Talk:
    """A conversation, its clock, and what it asks."""

    def __init__(self) -> None:
        self.time = 0.0
        view = ClusterView({1: "ipc:///n1", 2: "ipc:///n2"}, lambda _: True, lambda *_: None)
        self.steps = commit_idempotent(view, b"the same bytes", RetryBudget(lambda: self.time, 5.0))
        self.asked: list[Any] = []

    def answer(self, outcome: Any) -> None:
        step = self.steps.send(outcome)
        while isinstance(step, Wait):
            self.time += step.seconds
            step = self.steps.send(None)
        assert isinstance(step, Ask)
        self.asked.append(step.request)


def test_an_unknown_outcome_is_asked_again_with_the_same_bytes() -> None:
    talk = Talk()
    for outcome in (None, Unknown("leadership was lost"), AskTimeout("n2 is silent")):
        talk.answer(outcome)
    with pytest.raises(StopIteration) as end:
        talk.steps.send(Committed(7, b""))
    assert end.value.value == Committed(7, b"")
    assert {request.body for request in talk.asked} == {b"the same bytes"} and len(talk.asked) == 3


@pytest.mark.parametrize("first", [Unknown("lost"), NotLeader(0, "", 1)])
def test_when_the_time_is_up_the_outcome_is_unknown_only_if_it_was_once(first: Any) -> None:
    talk = Talk()
    talk.answer(None)
    expected = OutcomeUnknown if isinstance(first, Unknown) else NoLeader
    with pytest.raises(expected):
        talk.answer(first)
        while True:
            talk.answer(NotLeader(0, "", 1))


OF_SESSIONS = [SessionExpired(9), SequenceReused(9, 1), Acknowledged(1), WindowFull(0)]


@pytest.mark.parametrize("doubt", [Unknown("lost"), AskTimeout("silent"), TargetDown("died")])
@pytest.mark.parametrize("answer", OF_SESSIONS)
def test_what_a_session_answers_after_a_try_in_doubt_says_nothing_of_that_try(
    doubt: Any, answer: Answer
) -> None:
    talk = Talk()
    talk.answer(None)
    talk.answer(doubt)
    with pytest.raises(OutcomeUnknown) as unknown:
        talk.answer(Committed(7, encode_answer(answer)))
    assert not unknown.value.retry_is_safe


@pytest.mark.parametrize("answer", OF_SESSIONS)
def test_without_any_doubt_the_session_s_answer_is_the_answer(answer: Answer) -> None:
    talk = Talk()
    talk.answer(None)
    talk.answer(NotLeader(0, "", 1))
    with pytest.raises(StopIteration) as end:
        talk.answer(Committed(7, encode_answer(answer)))
    assert end.value.value.result == encode_answer(answer)


@pytest.mark.parametrize("answer", [Refused("no"), FenceRejected("e", 1, 2), LeaseGone(5), Stored(7)])
def test_an_answer_to_the_command_itself_settles_an_earlier_doubt(answer: Answer) -> None:
    talk = Talk()
    talk.answer(None)
    talk.answer(Unknown("lost"))
    with pytest.raises(StopIteration) as end:
        talk.answer(Committed(7, encode_answer(answer)))
    assert end.value.value.result == encode_answer(answer)


@pytest.mark.parametrize(
    "refusal", [Invalid("too new"), Failed(8, "no"), OutOfSpace(9, 9), TooNew(2, 1, "n2 is behind")]
)
def test_a_node_that_turns_a_command_down_says_nothing_of_an_earlier_try_in_doubt(refusal: Any) -> None:
    for first, is_in_doubt in ((Unknown("lost"), True), (NotLeader(0, "", 1), False)):
        talk = Talk()
        talk.answer(None)
        talk.answer(first)
        with pytest.raises(ClientError) as raised:
            talk.answer(refusal)
        assert isinstance(raised.value, OutcomeUnknown) == is_in_doubt
