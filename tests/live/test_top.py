"""The terminal view, driven by textual's pilot at 80 x 24."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from raft.cluster.rpc.messages import FaultEntry
from raft.live.actions import Order, request_of
from raft.live.sampler import Look, Record
from raft.live.top import LINK_MARKS, LINK_WORDS, Top, matrix, node_row, strip, words
from tests.live.pictures import node, picture_of, status, three

MARKUP = "[bold red]x[/] [@click=app.quit]y[/]"


class Stage:
    """A cluster that tests make up; what is ordered is kept."""

    def __init__(self) -> None:
        self.status = three()
        self.faults: list[FaultEntry] = []
        self.records = [Record(1.0, "event", "leader-elected", [1], f"LEADER {MARKUP}")]
        self.orders: list[Order] = []
        self._t = 10.0

    def look(self) -> Look:
        self._t += 0.1
        records, self.records = self.records, []
        return Look(picture_of(self.status, self.faults, self._t), records)

    def has_news(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""

    def act(self, order: Order) -> tuple[str, list[str]]:
        self.orders.append(order)
        return f"raft-actors {request_of(order)[0]}", ["done"]


def text(pilot: Pilot[None], name: str) -> str:
    return str(pilot.app.query_one(f"#{name}", Static).content)


def drive(steps: Callable[[Pilot[None], Stage], Awaitable[None]], *, read_only: bool = False) -> Stage:
    """Run the view on a stage, and the steps in it once the first picture is there."""
    stage = Stage()

    async def run() -> None:
        app = Top(stage, stage.act, read_only=read_only)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: text(pilot, "headline").startswith("n1 leads"))
            await steps(pilot, stage)

    asyncio.run(run())
    return stage


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await pilot.pause(0.02)


def lines(pilot: Pilot[None]) -> str:
    return "\n".join(strip.text for strip in pilot.app.query_one("#records", RichLog).lines)


def test_all_of_it_fits_80_columns_and_24_lines() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        await until(pilot, lambda: "LEADER" in lines(pilot))
        await until(pilot, lambda: pilot.app.query_one("#links").region.height)
        for widget in pilot.app.query("#headline, #nodes, #links, #strip, #records, #answer"):
            assert widget.region.height > 0, widget
            assert widget.region.right <= 80 and widget.region.bottom <= 24, widget
        assert pilot.app.query_one("#nodes", DataTable).row_count == 3
        await until(pilot, lambda: pilot.app.query("FooterKey"))
        assert pilot.app.query("FooterKey").last().region.right <= 80

    drive(steps)


def test_a_key_does_to_the_chosen_node_what_its_command_does() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        await pilot.press("down", "k")
        await until(pilot, lambda: text(pilot, "answer") == "$ raft-actors kill 2 · done")
        await pilot.press("h")
        await until(pilot, lambda: text(pilot, "answer") == "$ raft-actors faults clear · done")

    assert drive(steps).orders == [Order("kill", [2]), Order("clear-all")]


def test_a_view_to_look_at_only_does_nothing() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        await pilot.press("k")
        await until(pilot, lambda: "read-only" in text(pilot, "answer"))

    assert drive(steps, read_only=True).orders == []


def test_a_new_leader_and_a_dead_node_are_seen() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        dead = node(1, state="down", role=None, in_quorum=False)
        stage.status = status([dead, node(2, role="leader", leader=2)], leader=2)
        await until(pilot, lambda: text(pilot, "headline") == "n2 leads term 1")
        table = pilot.app.query_one("#nodes", DataTable)
        assert str(table.get_cell_at((0, 1))) == "✗ dead"

    drive(steps)


def test_a_filter_leaves_the_lines_that_have_the_text_and_values_are_no_markup() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        await until(pilot, lambda: MARKUP in lines(pilot))
        await pilot.press("slash", *"kill", "enter")
        await until(pilot, lambda: MARKUP not in lines(pilot))
        stage.records = [Record(2.0, "event", "fault", [1], "FAULT kill n1")]
        await until(pilot, lambda: "FAULT kill n1" in lines(pilot))

    drive(steps)


def test_the_palette_has_every_action_on_nodes() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        found = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"Kill", "Pause for 5 s", "Slow its disk by 100 ms", "Heal everything"} <= found

    drive(steps)


def test_a_row_says_what_is_wrong_with_a_node_without_colour() -> None:
    faults = [FaultEntry(3, "isolate", [2], "isolate n2", {1: [2], 2: [1]}, cut=True)]
    seen = picture_of(
        status([node(1, role="leader", heard_ms={2: 9.0}), node(2, in_quorum=False, last=3)]), faults
    )
    assert node_row(seen.nodes["2"], 5) == ["n2", "○ follower CUT OFF", "1", "5", "2", "#3"]
    assert matrix(seen).splitlines() == ["hears  1  2", "n1        ✗", "n2     ✗   "]
    assert strip([(1, False), (12, True), (0, True)], 2) == "!!\n2·"


def test_the_words_below_the_headline_name_what_is_broken_and_the_groups_that_hear_each_other() -> None:
    cut = FaultEntry(3, "partition", [1, 2, 3], "n1 n2 | n3", {1: [3], 2: [3], 3: [1, 2]}, cut=True)
    nodes = [node(1, role="leader", heard_ms={2: 9.0}), node(2, heard_ms={1: 9.0}), node(3, in_quorum=False)]
    seen = picture_of(status(nodes), [cut, FaultEntry(4, "disk", [2], "disk n2 full")])
    assert words(seen) == (
        "hear each other only: n1 n2 | n3; 3 of 3 voters hear each other, 2 needed; "
        "broken: partition n1 n2 | n3, disk n2 full"
    )
    assert words(picture_of(three(heard_ms={2: 9.0, 3: 9.0}))).endswith("needed; nothing is broken")


def test_a_node_that_does_not_run_is_marked_otherwise_than_a_quiet_way() -> None:
    seen = picture_of(status([node(1, role="leader"), node(2), node(3, state="down", role=None)]))
    assert matrix(seen).splitlines()[1:] == ["n1        ·  -", "n2     ·     -", "n3     -  -   "]


def test_each_mark_of_the_matrix_is_explained_in_one_line_of_80_columns() -> None:
    assert len(LINK_WORDS) <= 80
    assert all(f"{mark} " in LINK_WORDS for mark in [*LINK_MARKS.values(), "·", "-"])


def test_what_nodes_tell_late_stands_where_it_happened() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        stage.records = [Record(9.0, "event", "x", [1], "NINE"), Record(8.0, "event", "x", [1], "EIGHT")]
        await until(pilot, lambda: "NINE" in lines(pilot))
        stage.records = [Record(8.5, "node", "x", [2], "BETWEEN")]
        await until(pilot, lambda: "BETWEEN" in lines(pilot))
        told = lines(pilot)
        assert told.index("EIGHT") < told.index("BETWEEN") < told.index("NINE")

    drive(steps)


def test_faults_that_fill_a_screen_leave_room_for_the_rest() -> None:
    async def steps(pilot: Pilot[None], stage: Stage) -> None:
        stage.faults = [FaultEntry(at, "link", [1, 2], f"n1 -> n2 delay {at}ms") for at in range(1, 30)]
        await until(pilot, lambda: "and 25 more" in text(pilot, "words"))
        for name in ("#words", "#nodes", "#links-words", "#records", "#answer"):
            await until(pilot, lambda name=name: pilot.app.query_one(name).region.height > 0)
            assert pilot.app.query_one(name).region.bottom <= 24, name

    drive(steps)
