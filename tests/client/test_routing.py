"""The client's logic against scripted answers: whom it asks, what it retries, what it admits."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from actors.clock import ManualClock
from actors.errors import AskTimeout, TargetDown, Undeliverable
from raft.client.calls import routing, steps
from raft.client.calls.cluster_view import ClusterView
from raft.client.calls.steps import Ask, Outcome, RetryBudget, Step, Wait
from raft.client.errors import (
    ClientError,
    CommandRefused,
    NoLeader,
    OutcomeUnknown,
    Rejected,
    Unreachable,
)
from raft.protocol.client import (
    Command,
    Committed,
    Failed,
    Invalid,
    LeaderIs,
    NotLeader,
    Query,
    QueryResult,
    Refused,
    Unknown,
    WhoLeads,
)
from raft.protocol.registry import address_of

DONE = Committed(1, b"done")
UNUSABLE = "tcp://no.such.host:1"
Script = Callable[[Ask], Outcome]


class Talk:
    """Runs a conversation against a script; remembers who was asked, and lets the waits pass."""

    def __init__(self, *endpoints: int, up: tuple[int, ...] | None = None) -> None:
        self.clock = ManualClock()
        self.asked: list[int] = []
        self.waits: list[float] = []
        self.learned_endpoints: dict[int, str] = {}
        self.up = endpoints if up is None else up
        self.forgotten: list[int] = []
        self.view = ClusterView(
            {node: f"e{node}" for node in endpoints},
            lambda node: node in self.up,
            self._learn,
            self.forgotten.append,
        )

    def _learn(self, node: int, endpoint: str) -> bool:
        if self.view.endpoints.get(node) != endpoint:
            self.learned_endpoints[node] = endpoint
        return endpoint != UNUSABLE

    def budget(self, seconds: float = 1.0) -> RetryBudget:
        return RetryBudget(self.clock.now, seconds)

    def command(self, script: Script, seconds: float = 1.0) -> Any:
        return self.run(routing.command(self.view, b"c", self.budget(seconds)), script)

    def query(self, script: Script, seconds: float = 1.0) -> Any:
        return self.run(routing.query(self.view, Query(b"q"), self.budget(seconds)), script)

    def run(self, steps: Generator[Step, Outcome, Any], script: Script) -> Any:
        outcome: Outcome = None
        for _ in range(10_000):
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            if isinstance(step, Wait):
                self.waits.append(step.seconds)
                self.clock.advance(step.seconds)
                outcome = None
            else:
                self.asked.append(step.node)
                outcome = script(step)
        raise AssertionError("the conversation never ends")


def leader_is(leader: int, others: Outcome | None = None) -> Script:
    def answer(ask: Ask) -> Outcome:
        return DONE if ask.node == leader else others or NotLeader(leader, f"e{leader}", 1)

    return answer


def test_a_redirection_is_followed_at_once_and_remembered() -> None:
    talk = Talk(1, 2, 3)
    assert talk.command(leader_is(3)) == DONE
    assert talk.waits == []
    asked = len(talk.asked)
    talk.command(leader_is(3))
    assert talk.asked[asked:] == [3]


def test_a_leader_that_was_not_known_is_learnt_from_the_redirection() -> None:
    talk = Talk(1)
    assert talk.command(leader_is(7)) == DONE
    assert talk.asked == [1, 7]
    assert talk.learned_endpoints == {7: "e7"}


def test_nodes_that_cannot_be_reached_are_passed_over() -> None:
    talk = Talk(1, 2, 3, up=(2,))
    assert talk.command(lambda ask: DONE) == DONE
    assert talk.asked == [2]


def test_a_command_that_was_never_delivered_is_tried_elsewhere() -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = 1
    assert talk.command(lambda ask: Undeliverable("down") if ask.node == 1 else DONE) == DONE
    assert talk.asked[0] == 1
    assert talk.asked[1] != 1


@pytest.mark.parametrize("failure", [TargetDown("died"), AskTimeout("slow"), Unknown("lost")])
def test_a_command_that_may_have_been_taken_is_never_sent_again(failure: Outcome) -> None:
    talk = Talk(1, 2, 3)
    with pytest.raises(OutcomeUnknown) as caught:
        talk.command(lambda ask: failure)
    assert len(talk.asked) == 1
    assert not caught.value.retry_is_safe


@pytest.mark.parametrize("failure", [TargetDown("died"), AskTimeout("slow"), Undeliverable("down")])
def test_a_query_changes_nothing_and_is_asked_again_elsewhere(failure: Outcome) -> None:
    talk = Talk(1, 2, 3)
    first: list[int] = []

    def script(ask: Ask) -> Outcome:
        first.append(ask.node)
        return failure if ask.node == first[0] else QueryResult(1, b"r")

    assert talk.query(script).result == b"r"
    assert len(talk.asked) == 2


@pytest.mark.parametrize("answer", [Failed(4, "no such thing"), Invalid("no such thing")])
def test_what_the_machine_turned_down_is_not_tried_again(answer: Outcome) -> None:
    talk = Talk(1, 2, 3)
    with pytest.raises(CommandRefused, match="no such thing"):
        talk.command(lambda ask: answer)
    assert len(talk.asked) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NotLeader(0, "", 1), NoLeader),
        (Refused("too many"), Rejected),
        (Undeliverable("down"), Unreachable),
        (LeaderIs(1, 1, {}), Rejected),
    ],
)
def test_when_the_time_is_up_the_error_says_what_stood_in_the_way(
    answer: Outcome, error: type[ClientError]
) -> None:
    talk = Talk(1, 2, 3)
    with pytest.raises(error) as caught:
        talk.command(lambda ask: answer, seconds=2.0)
    assert type(caught.value) is error
    assert caught.value.retry_is_safe
    assert talk.clock.now() == pytest.approx(2.0)
    assert max(talk.waits) <= steps.WAIT_SECONDS_MAX + steps.LAST_SECONDS_MAX
    assert set(talk.asked) == {1, 2, 3}


@pytest.mark.parametrize("seconds", [0.01, 0.1, 2.0])
@pytest.mark.parametrize("refusal", [NotLeader(0, "", 1), Refused("too many"), Undeliverable("down")])
def test_a_refused_command_is_not_sent_again_without_the_time_for_an_answer(
    refusal: Outcome, seconds: float
) -> None:
    talk = Talk(1, 2, 3)
    needed_seconds = min(0.05, seconds / 4)

    def script(ask: Ask) -> Outcome:
        return refusal if ask.timeout_seconds >= needed_seconds else AskTimeout("no time was left")

    with pytest.raises(ClientError) as caught:
        talk.command(script, seconds)
    assert caught.value.retry_is_safe


def test_a_node_that_comes_up_at_the_last_moment_is_not_asked_in_vain() -> None:
    talk = Talk(1, 2, 3)
    steps = routing.command(talk.view, b"c", talk.budget(1.0))
    steps.send(None)
    assert isinstance(steps.send(NotLeader(0, "", 1)), Wait)
    talk.clock.advance(0.96)
    with pytest.raises(NoLeader):
        steps.send(None)


def test_when_a_node_is_not_connected_another_one_is_asked_at_once_but_only_the_first_time() -> None:
    talk = Talk(1, 2, 3, up=(2, 3))
    talk.view.leader = 1
    asked: list[int] = []

    def script(ask: Ask) -> Outcome:
        asked.append(ask.node)
        return Undeliverable("down") if len(asked) <= 2 else DONE

    assert talk.command(script) == DONE
    assert len(asked) == 3
    assert asked[0] == 1 and asked[1] != 1
    assert len(talk.waits) == 1


def test_a_leader_just_named_that_is_not_connected_yet_is_waited_for() -> None:
    talk = Talk(1, 2, 3, up=(1,))
    answers: list[Outcome] = [NotLeader(2, "e2", 1), Undeliverable("down"), DONE]
    talk.view.leader = 1
    assert talk.command(lambda ask: answers.pop(0)) == DONE
    assert len(talk.waits) == 1


def test_where_no_other_node_is_connected_a_client_waits_before_it_asks_again() -> None:
    talk = Talk(1, 2, 3, up=())
    talk.view.leader = 1
    answers: list[Outcome] = [Undeliverable("down"), DONE]
    assert talk.command(lambda ask: answers.pop(0)) == DONE
    assert len(talk.waits) == 1


def test_two_nodes_that_send_it_to_and_fro_do_not_make_it_spin() -> None:
    talk = Talk(1, 2)
    with pytest.raises(NoLeader):
        talk.command(lambda ask: NotLeader(3 - ask.node, "", 1))
    assert len(talk.asked) < 100


def test_a_leader_that_died_is_forgotten_though_others_still_name_it() -> None:
    talk = Talk(1, 2, 3, up=(2, 3))
    talk.view.leader = 1
    elected = 0.02

    def script(ask: Ask) -> Outcome:
        if ask.node == 1:
            return Undeliverable("down")
        if talk.clock.now() < elected:
            return NotLeader(1, "e1", 1)
        return DONE if ask.node == 2 else NotLeader(2, "e2", 2)

    assert talk.command(script) == DONE
    assert talk.clock.now() < 0.1


def test_asking_who_leads_learns_all_members() -> None:
    talk = Talk(1)
    answers = [LeaderIs(0, 1, {1: "e1", 2: "e2"}), LeaderIs(2, 2, {1: "e1", 2: "e2"})]
    found = talk.run(routing.find_leader(talk.view, talk.budget()), lambda ask: answers.pop(0))
    assert found.leader == 2
    assert talk.learned_endpoints == {2: "e2"}
    assert talk.view.choose(0, talk.clock.now()) == 2


def test_a_client_needs_at_least_one_endpoint() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Talk()


def test_when_others_belong_to_the_cluster_a_client_learns_of_them_once() -> None:
    talk = Talk(1)
    requests: list[str] = []

    def script(ask: Ask) -> Outcome:
        requests.append(type(ask.request).__name__)
        if isinstance(ask.request, Query):
            return QueryResult(1, b"", configuration=7)
        return Committed(1, b"", 7) if requests[-1] == "Command" else LeaderIs(1, 2, {1: "e1", 4: "e4"})

    talk.command(script)
    talk.command(script)
    talk.query(script)
    assert requests == ["Command", "WhoLeads", "Command", "Query"]
    assert talk.learned_endpoints == {4: "e4"}


def test_the_first_node_that_says_so_tells_which_cluster_this_is() -> None:
    talk = Talk(1)

    def script(step: Ask) -> Outcome:
        if isinstance(step.request, WhoLeads):
            return LeaderIs(1, 2, {1: "e1"}, "ours")
        return QueryResult(7, b"r", configuration=3)

    talk.query(script)
    assert talk.view.identity == "ours"
    assert talk.view.address(1, Query(b"q")) == address_of(1, "ours")
    assert talk.view.address(1, WhoLeads()) == address_of(1)


def test_a_node_of_another_cluster_is_named_and_not_asked_again_while_there_are_others() -> None:
    talk = Talk(1, 2)
    talk.view.identity = "ours"
    talk.view.leader = 2

    def script(step: Ask) -> Outcome:
        if step.node == 1:
            return DONE
        if isinstance(step.request, WhoLeads):
            return LeaderIs(2, 9, {2: "e2"}, "theirs")
        return Undeliverable("n2/raft@ours: no such actor")

    assert talk.command(script) == DONE
    assert list(talk.view.endpoints) == [1]
    talk.view.endpoints = {2: "e2"}
    talk.view.leader = 0
    with pytest.raises(Unreachable, match="node 2 of cluster theirs listens at e2, but this client"):
        talk.command(script)
    assert list(talk.view.endpoints) == [2]


def test_a_client_that_knows_some_members_learns_the_others_from_the_first_answer() -> None:
    talk = Talk(1)
    talk.view.configuration = routing.UNKNOWN_CONFIGURATION

    def script(ask: Ask) -> Outcome:
        if isinstance(ask.request, Query):
            return QueryResult(1, b"")
        return LeaderIs(1, 1, {1: "e1", 2: "e2", 3: "e3"})

    talk.query(script)
    assert sorted(talk.view.endpoints) == [1, 2, 3] and talk.learned_endpoints == {2: "e2", 3: "e3"}
    asked = len(talk.asked)
    talk.query(script)
    assert len(talk.asked) == asked + 1


def test_a_node_that_lags_behind_says_nothing_new_of_the_members() -> None:
    talk = Talk(1)
    talk.view.configuration = 9
    talk.query(lambda ask: QueryResult(1, b"", configuration=7))
    assert len(talk.asked) == 1


def test_members_that_have_left_are_forgotten_but_not_what_was_configured_which_comes_last() -> None:
    talk = Talk(1, 2)
    talk.view.set_members({2: "e2", 3: "e3", 4: "e4"})
    talk.view.set_members({2: "e2", 4: "e4"})
    assert sorted(talk.view.endpoints) == [1, 2, 4] and talk.forgotten == [3]
    talk.up = (1, 2, 4)
    assert {talk.view.choose(0, 0.0) for _ in range(10)} == {2, 4}
    talk.up = (1,)
    assert talk.view.choose(0, 0.0) == 1


def test_a_member_that_cannot_be_spoken_to_is_left_out() -> None:
    talk = Talk(1)
    talk.view.set_members({1: "e1", 2: UNUSABLE})
    assert talk.view.endpoints == {1: "e1"}


def test_an_address_that_was_configured_is_not_given_up_for_one_that_a_member_tells() -> None:
    talk = Talk(1)
    talk.view.set_members({1: "elsewhere", 2: "e2"})
    assert talk.view.endpoints == {1: "e1", 2: "e2"}


@pytest.mark.parametrize("ended", [AskTimeout("silent"), Unknown("lost")])
def test_after_an_unknown_outcome_the_leader_is_looked_for_anew(ended: Outcome) -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = 1
    with pytest.raises(OutcomeUnknown):
        talk.command(lambda ask: ended)
    assert talk.view.responsive_leader(talk.clock.now()) == 0


def test_a_leader_that_is_heard_and_cannot_hear_is_not_given_another_command() -> None:
    talk = Talk(1, 2, 3)
    talk.view.leader = 1
    deaf: list[type] = []

    def script(ask: Ask) -> Outcome:
        if ask.node == 1:
            deaf.append(type(ask.request))
            talk.clock.advance(ask.timeout_seconds)
            return AskTimeout("silent")
        return (
            NotLeader(1, "e1", 1)
            if talk.clock.now() < 7.0
            else (DONE if ask.node == 2 else NotLeader(2, "e2", 2))
        )

    with pytest.raises(OutcomeUnknown):
        talk.command(script, seconds=3.0)
    with pytest.raises(ClientError) as caught:
        talk.command(script, seconds=3.0)
    assert caught.value.retry_is_safe, "it was not given to the leader that cannot hear"
    assert talk.command(script, seconds=3.0) == DONE
    assert deaf.count(Command) == 1


def test_a_leader_that_answers_again_is_given_commands_again() -> None:
    talk = Talk(1)
    with pytest.raises(OutcomeUnknown):
        talk.command(lambda ask: AskTimeout("silent"))
    assert talk.command(lambda ask: LeaderIs(1, 1, {1: "e1"}) if ask.request == WhoLeads() else DONE) == DONE


def test_a_leader_that_cannot_be_reached_is_given_a_command_by_way_of_another_member() -> None:
    talk = Talk(1, 2, 3, up=(1, 2))
    talk.view.leader = 3
    relayed: list[int] = []

    def script(ask: Ask) -> Outcome:
        if ask.relayed:
            relayed.append(ask.node)
            return DONE
        return Undeliverable("n3: down") if ask.node == 3 else NotLeader(3, "e3", 1)

    assert talk.command(script) == DONE
    assert len(relayed) == 1
    talk.up = (1, 2, 3)
    assert talk.command(lambda ask: DONE if ask.node == 3 else NotLeader(3, "e3", 1)) == DONE
    assert len(relayed) == 1 and talk.asked[-1] == 3, "it is asked itself as soon as it can be"


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Unknown("lost"), OutcomeUnknown), (AskTimeout("silent"), OutcomeUnknown), (Refused("full"), Rejected)],
)
def test_what_is_answered_by_way_of_another_member_keeps_its_meaning(
    answer: Outcome, error: type[ClientError]
) -> None:
    talk = Talk(1, 2, up=(1,))
    talk.view.leader = 2
    times = 0

    def script(ask: Ask) -> Outcome:
        nonlocal times
        if ask.relayed:
            times += 1
            return answer
        return Undeliverable("n2: down") if ask.node == 2 else NotLeader(2, "e2", 1)

    with pytest.raises(error) as caught:
        talk.command(script)
    assert caught.value.retry_is_safe == (error is Rejected)
    assert times == 1 or error is Rejected


def test_a_member_that_passes_nothing_on_is_no_worse_than_before() -> None:
    talk = Talk(1, 2, up=(1,))
    talk.view.leader = 2
    with pytest.raises(Rejected):
        talk.command(
            lambda ask: Undeliverable("no relay") if ask.relayed or ask.node == 2 else NotLeader(2, "e2", 1)
        )
    assert len(talk.asked) < 200
