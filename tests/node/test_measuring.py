"""Round trips between members, measured by each of them on request."""

from __future__ import annotations

from raft.node.process.roles import Role, why_not
from raft.protocol.admin import CannotDo, Measure, Measured
from tests.node.cluster import Cluster


def test_a_node_measures_round_trips_to_all_others() -> None:
    cluster = Cluster(3)
    cluster.elect()
    answer = cluster.answer(1, Measure(5))
    assert isinstance(answer, Measured)
    assert {peer: len(times) for peer, times in answer.round_trips.items()} == {2: 5, 3: 5}
    assert all(time >= 0.0 for times in answer.round_trips.values() for time in times)


def test_a_member_that_is_away_has_no_times_and_the_next_request_is_answered_too() -> None:
    cluster = Cluster(3)
    cluster.elect()
    cluster[3].kill()
    cluster.network.settle()
    for _ in range(2):
        answer = cluster.answer(1, Measure(5), seconds=20.0)
        assert {peer: len(times) for peer, times in answer.round_trips.items()} == {2: 5, 3: 0}


def test_a_second_measurement_meanwhile_is_refused() -> None:
    cluster = Cluster(3)
    cluster.elect()
    cluster[1].cut(2)
    first = cluster.ask(1, Measure(5), 20.0)
    assert isinstance(cluster.answer(1, Measure(5)), CannotDo)
    cluster.until(lambda: first.done, 20.0)
    assert first.result().round_trips[2] == []


def test_a_node_on_its_own_has_nothing_to_measure() -> None:
    cluster = Cluster(1)
    cluster.elect()
    assert cluster.answer(1, Measure()) == Measured({})


def test_it_needs_an_operator() -> None:
    assert why_not(Measure(), Role.CLIENT, "") == "may not measure round trips: that needs the role operator"
