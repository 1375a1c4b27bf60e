"""What a comparison makes of its figures, without measuring anything."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.growth import Point
from benchmarks.growth import table as growth_table
from benchmarks.interpreters import table as interpreters_table
from benchmarks.locks import table as locks_table
from benchmarks.peers.baseline import checkout, pairs, table
from benchmarks.peers.etcd import etcd
from benchmarks.peers.peer import Plan, plan_of
from benchmarks.peers.pictures import write_pictures
from benchmarks.peers.pysyncobj import pysyncobj_tuned
from benchmarks.peers.raft_actors import raft_actors
from benchmarks.peers.record import Figure, Record, rows_of
from benchmarks.peers.showing import BEGIN, END, insert, markdown
from benchmarks.scale import Quiet, fit, measure


def figure(peer: str, value: float, *, scenario: str = "throughput", more: bool = True) -> Figure:
    unit = "/s" if more else "ms"
    return Figure(
        peer=peer, scenario=scenario, nodes=3, what="writes", unit=unit, more_is_better=more, value=value
    )


def record(*figures: Figure) -> Record:
    return Record(
        machine={"cpu": "2 x something"},
        peers={"raft-actors": "this", "etcd": "3.4"},
        notes={"raft-actors": "", "etcd": ""},
        durable={"raft-actors": True, "etcd": True},
        missing={"pysyncobj": "no pysyncobj (pip install pysyncobj)"},
        rounds=3,
        figures=list(figures),
    )


def test_a_table_of_locks_leaves_empty_what_a_peer_does_not_have() -> None:
    told = list(
        locks_table({"raft-actors": {"free": 1.5, "leader killed": 20.0}, "redis-py": {"free": 0.25}})
    )
    assert told == [
        "| milliseconds | raft-actors | redis-py |",
        "| --- | ---: | ---: |",
        "| free | 1.50 | 0.25 |",
        "| leader killed | 20.00 |  |",
    ]


def test_a_table_of_interpreters_has_the_medians_of_each() -> None:
    told = list(interpreters_table({"3.11.7": {"lone": [1.0, 9.0, 2.0]}, "3.13.0": {"lone": [4.0]}}))
    assert told[0] == "| median | 3.11.7 | 3.13.0 |"
    assert told[2:] == ["| lone | 2.00 | 4.00 |"]


def test_a_table_of_growth_has_a_row_for_each_size() -> None:
    told = list(growth_table([Point("keys", 10_000, 4.04, 1.5, 2_822.4, 43.2, 23.84)]))
    assert told[2:] == ["| keys | 10,000 | 4.0 s | 1.50 ms | 2,822/s | 43 ms |  | 23.8 MB |"]
    assert len({line.count("|") for line in told}) == 1


def test_a_row_holds_the_medians_over_the_rounds() -> None:
    (row,) = rows_of(
        [figure("etcd", 5.0), figure("raft-actors", 1.0), figure("etcd", 9.0), figure("etcd", 6.0)]
    )
    assert row.medians == {"etcd": 6.0, "raft-actors": 1.0}


def test_a_ratio_is_above_one_where_the_first_is_better_whichever_way_better_is() -> None:
    (much,) = rows_of([figure("raft-actors", 30.0), figure("etcd", 10.0)])
    (quick,) = rows_of([figure("raft-actors", 10.0, more=False), figure("etcd", 30.0, more=False)])
    assert much.ratio("raft-actors", "etcd") == 3.0
    assert quick.ratio("raft-actors", "etcd") == 3.0
    assert quick.ratio("raft-actors", "pysyncobj") is None


def test_the_tables_name_who_was_left_out_and_what_failed() -> None:
    kept = record(figure("raft-actors", 30_000.0), figure("etcd", 10_000.0))
    kept.failed.append("etcd, watch: gone")
    told = markdown(kept, rows_of(kept.figures))
    assert "| pysyncobj | left out | no pysyncobj (pip install pysyncobj) | |" in told
    assert "| writes | 3 | 30,000/s | 10,000/s | 3.00 |" in told
    assert "- etcd, watch: gone" in told


def test_without_one_of_the_two_that_are_compared_there_is_no_column_for_their_ratio() -> None:
    kept = record(figure("etcd", 10_000.0))
    told = markdown(kept, rows_of(kept.figures))
    assert "| writes | 3 | 10,000/s |\n" in told + "\n"
    assert ":" not in told.split("### ")[1].splitlines()[2], told
    assert "The last column" not in told


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    kept = record(figure("etcd", 1.5))
    kept.write(tmp_path / "new")
    assert Record.read(tmp_path / "new") == kept


def test_tables_go_between_the_marks_of_a_page_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    insert(page, "new")
    insert(page, "newer")
    assert page.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"


def test_a_picture_has_a_bar_for_each_figure_and_is_well_formed(tmp_path: Path) -> None:
    kept = record(
        figure("raft-actors", 30_000.0),
        figure("etcd", 9.0),
        figure("etcd", 1300.0, scenario="failover", more=False),
    )
    paths = write_pictures(kept, rows_of(kept.figures), tmp_path)
    assert [path.name for path in paths] == ["throughput.svg", "failover.svg"]
    drawn = ElementTree.parse(paths[0]).getroot()
    bars = [rect for rect in drawn.iter("{http://www.w3.org/2000/svg}rect") if rect.get("height") == "12"]
    assert len(bars) == 2


def test_a_peer_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "etcd-server" in etcd().missing()


def test_a_plan_has_places_for_all_on_ports_of_their_own(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, 3)
    ports = [port for pair in plan.ports for port in pair]
    assert len(set(ports)) == len(ports) == 8


def test_a_later_member_joins_and_one_that_has_run_says_so() -> None:
    plan = Plan(Path("/home"), [(1, 2), (3, 4), (5, 6), (7, 8)], 3)
    ours, theirs = raft_actors(), etcd()
    assert "--join" in ours.member_command(plan, 4, again=False)
    assert "--existing" in ours.member_command(plan, 1, again=True)
    assert "--existing" not in ours.member_command(plan, 1, again=False)
    joining = theirs.member_command(plan, 4, again=False)
    assert joining[joining.index("--initial-cluster-state") + 1] == "existing"
    assert joining[joining.index("--initial-cluster") + 1].count("n") == 4
    assert pysyncobj_tuned().member_command(plan, 2, again=False).count("--other") == 2


def test_a_quiet_world_says_exactly_the_same_each_time() -> None:
    def told() -> tuple[int, int]:
        cluster = Quiet(3)
        cluster.write(20, 4)
        cluster.rest(1.0)
        return cluster.frames, cluster.bytes

    first = told()
    assert first == told()
    assert min(first) > 0


def test_one_more_node_costs_the_leader_one_more_and_the_others_nothing() -> None:
    costs = [measure(nodes, 64, 1.0) for nodes in (3, 5, 7)]
    by_what = {line.what: line for line in fit(costs)}
    idle = by_what["frames a second, idle"]
    assert idle.explained > 0.99
    assert 40 <= idle.each <= 45  # A heartbeat every 50 ms and its answer.
    assert abs(idle.fixed + idle.each) < 0.1 * idle.each


def test_a_change_within_the_noise_of_the_rounds_is_no_change() -> None:
    sides = {"baseline": (100.0, 110.0, 105.0), "raft-actors": (104.0, 103.0, 108.0)}
    (pair,) = pairs(figure(peer, value) for peer, values in sides.items() for value in values)
    assert pair.verdict == "same"
    assert "| throughput: writes | 3 | 105/s | 104/s | 0.99 | 0.05 | same |" in table([pair])


@pytest.mark.parametrize(("more", "verdict"), [(True, "worse"), (False, "better")])
def test_a_change_beyond_the_noise_is_told_whichever_way_better_is(more: bool, verdict: str) -> None:
    sides = {"baseline": (100.0, 101.0, 102.0), "raft-actors": (80.0, 81.0, 82.0)}
    (pair,) = pairs(figure(peer, value, more=more) for peer, values in sides.items() for value in values)
    assert pair.verdict == verdict


def test_two_rounds_are_too_few_for_a_verdict() -> None:
    sides = {"baseline": (100.0, 101.0), "raft-actors": (50.0, 51.0)}
    (pair,) = pairs(figure(peer, value) for peer, values in sides.items() for value in values)
    assert (pair.spread, pair.verdict) == (None, "too few rounds")


def test_a_directory_that_is_a_checkout_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "raft").mkdir()
    with checkout(str(tmp_path), tmp_path / "work") as tree:
        assert tree == tmp_path
    assert (tmp_path / "raft").is_dir()
