"""A node that goes silent: who is asked instead, what waits, and what is never sent twice."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from actors.errors import AskTimeout, TargetDown
from raft.client.calls import routing, sessions
from raft.client.calls.steps import Ask, Outcome, Step
from raft.client.errors import NoLeader, OutcomeUnknown
from raft.client.failure_detector import ANSWER_SECONDS_MAX, ANSWER_SECONDS_MIN, SILENCE_SECONDS_MAX
from raft.protocol.client import Command, Committed, LeaderIs, NotLeader, Query, QueryResult, WhoLeads
from tests.client.test_routing import DONE, Script, Talk

PAUSED, SECOND, THIRD = 1, 2, 3
Steps = Generator[Step, Outcome, Committed]


def unanswered(talk: Talk, seconds: float = ANSWER_SECONDS_MIN) -> Steps:
    """A command that the leader, the first node, leaves unanswered for so long."""
    talk.view.leader = PAUSED
    steps = routing.command(talk.view, b"first", talk.budget(5.0))
    step = steps.send(None)
    assert isinstance(step, Ask) and step.node == PAUSED
    talk.clock.advance(seconds)
    return steps


def silent_until_elected(talk: Talk, elected_at: float, requests: list[type] | None = None) -> Script:
    """The first node is silent to any of `requests`; the others name it until the second one is elected."""
    requests = [] if requests is None else requests

    def answer(ask: Ask) -> Outcome:
        if ask.node == PAUSED:
            requests.append(type(ask.request))
            talk.clock.advance(ask.timeout_seconds)
            return AskTimeout("silent")
        if talk.clock.now() < elected_at:
            return NotLeader(PAUSED, "e1", 1)
        done = DONE if isinstance(ask.request, Command) else QueryResult(1, b"r")
        return done if ask.node == SECOND else NotLeader(SECOND, "e2", 2)

    return answer


def test_a_leader_that_leaves_a_command_unanswered_is_not_given_the_next_one() -> None:
    talk = Talk(1, 2, 3)
    first = unanswered(talk)
    assert talk.command(silent_until_elected(talk, 0.0)) == DONE
    assert PAUSED not in talk.asked and talk.waits == []
    with pytest.raises(OutcomeUnknown):
        first.send(AskTimeout("silent"))


def test_a_leader_is_given_the_next_command_as_long_as_it_may_still_answer_the_last() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk, ANSWER_SECONDS_MIN / 2)
    assert talk.command(lambda ask: DONE) == DONE
    assert talk.asked == [PAUSED]


def test_while_the_others_still_name_the_silent_leader_a_command_waits_and_so_is_never_in_doubt() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk)
    requests: list[type] = []
    assert talk.command(silent_until_elected(talk, 0.4, requests)) == DONE
    assert set(requests) == {WhoLeads} and len(talk.asked) < 20
    assert talk.clock.now() < 0.4 + 2 * ANSWER_SECONDS_MIN


def test_a_leader_whose_answer_was_lost_is_asked_whether_it_is_there_and_then_trusted() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk)

    def script(ask: Ask) -> Outcome:
        if ask.node != PAUSED:
            return NotLeader(PAUSED, "e1", 1)
        return DONE if isinstance(ask.request, Command) else LeaderIs(PAUSED, 1, {})

    assert talk.command(script) == DONE
    assert talk.asked[1:] == [PAUSED, PAUSED] and talk.waits == []


def test_a_node_that_is_not_connected_yet_has_not_gone_silent() -> None:
    talk = Talk(1, 2, 3, up=())
    talk.view.leader = PAUSED
    steps = routing.query(talk.view, Query(b"q"), talk.budget(5.0))
    step = steps.send(None)
    assert isinstance(step, Ask) and step.timeout_seconds == ANSWER_SECONDS_MAX
    talk.clock.advance(ANSWER_SECONDS_MIN)
    assert talk.view.responsive_leader(talk.clock.now()) == PAUSED


def test_a_command_to_a_node_that_is_not_connected_yet_does_not_make_it_suspect() -> None:
    for up in ((), (PAUSED,)):
        talk = Talk(1, 2, 3, up=up)
        talk.view.leader = PAUSED
        talk.view.note_command(PAUSED, talk.clock.now())
        talk.clock.advance(ANSWER_SECONDS_MIN)
        assert talk.view.responsive_leader(talk.clock.now()) == (0 if up else PAUSED)


def test_a_command_that_only_waited_may_be_tried_again() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk)
    with pytest.raises(NoLeader) as caught:
        talk.command(silent_until_elected(talk, 9.0), seconds=1.0)
    assert caught.value.retry_is_safe


def test_the_only_other_node_that_can_be_reached_is_asked_again_before_the_silent_leader() -> None:
    talk = Talk(1, 2, 3, up=(1, 2))
    unanswered(talk)
    requests: list[type] = []
    assert talk.command(silent_until_elected(talk, 0.4, requests)) == DONE
    assert set(talk.asked) == {PAUSED, SECOND} and set(requests) == {WhoLeads}


def test_without_another_node_the_suspected_leader_is_asked() -> None:
    talk = Talk(1)
    unanswered(talk)
    assert talk.command(lambda ask: DONE) == DONE


def test_any_answer_shows_that_the_leader_stands_and_what_waited_goes_to_it() -> None:
    talk = Talk(1, 2, 3)
    first = unanswered(talk)

    def script(ask: Ask) -> Outcome:
        if isinstance(ask.request, WhoLeads):
            with pytest.raises(StopIteration):
                first.send(DONE)
            return AskTimeout("what was asked before comes first")
        return DONE if ask.node == PAUSED else NotLeader(PAUSED, "e1", 1)

    assert talk.command(script) == DONE
    assert len(talk.asked) == 3 and talk.asked[1:] == [PAUSED, PAUSED]


def test_a_slow_leader_is_waited_for_and_no_other_node_is_asked() -> None:
    talk = Talk(1, 2, 3)
    slow_seconds = 3 * ANSWER_SECONDS_MIN
    with pytest.raises(StopIteration):
        unanswered(talk, slow_seconds).send(DONE)

    def script(ask: Ask) -> Outcome:
        assert ask.timeout_seconds > slow_seconds
        talk.clock.advance(slow_seconds)
        return DONE if isinstance(ask.request, Command) else QueryResult(1, b"r")

    unanswered(talk, slow_seconds)
    talk.command(script)
    talk.query(script)
    assert set(talk.asked) == {PAUSED}


def test_patience_returns_to_what_it_was_when_answers_come_quickly_again() -> None:
    detector = Talk(1).view.detector
    detector.answered(1, 0.0, 9.0)
    assert detector.seconds == ANSWER_SECONDS_MAX
    for _ in range(100):
        detector.answered(1, 9.0, 9.001)
    assert detector.seconds == ANSWER_SECONDS_MIN


def test_a_query_that_hangs_is_soon_asked_of_another_node_and_of_each_for_longer() -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = PAUSED
    seconds: list[float] = []

    def script(ask: Ask) -> Outcome:
        seconds.append(ask.timeout_seconds)
        talk.clock.advance(ask.timeout_seconds)
        return AskTimeout("silent") if len(seconds) < 3 else QueryResult(1, b"r")

    assert talk.query(script, seconds=5.0).result == b"r"
    assert talk.asked[0] == PAUSED and len(set(talk.asked)) == 3
    assert seconds == pytest.approx([ANSWER_SECONDS_MIN * factor for factor in (1, 2, 4)])


def test_a_sessions_command_goes_elsewhere_early_with_the_same_bytes_and_not_to_the_silent_leader() -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = PAUSED
    bodies: set[bytes] = set()
    requests: list[type] = []
    elected = silent_until_elected(talk, 0.4, requests)

    def script(ask: Ask) -> Outcome:
        if isinstance(ask.request, Command):
            bodies.add(ask.request.body)
        return elected(ask)

    assert talk.run(sessions.commit_idempotent(talk.view, b"same", talk.budget(5.0)), script) == DONE
    assert bodies == {b"same"}
    assert requests.count(Command) == 1
    assert talk.clock.now() < 0.4 + 2 * ANSWER_SECONDS_MIN


def test_a_sessions_command_that_only_silence_met_stays_in_doubt() -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = PAUSED
    with pytest.raises(OutcomeUnknown):
        talk.run(
            sessions.commit_idempotent(talk.view, b"same", talk.budget(1.0)), silent_until_elected(talk, 9.0)
        )


def test_silence_is_counted_from_the_first_of_the_asks_that_are_unanswered() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk, 0.6 * ANSWER_SECONDS_MIN)
    unanswered(talk, 0.6 * ANSWER_SECONDS_MIN)
    assert talk.view.responsive_leader(talk.clock.now()) == 0


def test_a_silence_after_a_lost_answer_is_noticed_too() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk, SILENCE_SECONDS_MAX)
    assert talk.view.responsive_leader(talk.clock.now()) == PAUSED
    unanswered(talk)
    assert talk.view.responsive_leader(talk.clock.now()) == 0


def test_a_command_outside_of_a_session_waits_for_its_answer_as_long_as_it_may() -> None:
    talk = Talk(1, 2, 3)
    seconds: list[float] = []

    def script(ask: Ask) -> Outcome:
        seconds.append(ask.timeout_seconds)
        return DONE

    talk.command(script, seconds=5.0)
    assert seconds == [5.0]


def test_a_node_that_is_back_after_its_connection_ended_is_not_silent() -> None:
    talk = Talk(1, 2, 3)
    first = unanswered(talk)
    with pytest.raises(OutcomeUnknown):
        first.send(TargetDown("closed"))
    talk.view.leader = PAUSED
    assert talk.command(lambda ask: DONE) == DONE
    assert talk.asked == [PAUSED]


def test_the_leader_is_looked_up_at_nodes_that_answer() -> None:
    talk = Talk(1, 2, 3)
    unanswered(talk)
    query = routing.query(talk.view, Query(b"q"), talk.budget())
    step = query.send(None)
    assert isinstance(step, Ask) and step.node != PAUSED
