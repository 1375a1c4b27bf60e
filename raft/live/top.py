"""The terminal view: the feed as an application of textual, with a key for each common action.

Owns its layout and keys. The headline, nodes and links are the feed's, what an action does the launcher's.
Imported only where it is shown, for it alone needs textual (the extra `top`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from raft.cluster.failures import VerbFailed
from raft.live.actions import ACTIONS, Order, request_of
from raft.live.feed import NodePicture, Picture
from raft.live.sampler import Record, Sampler, Source

MARKS = {
    "leader": "◆", "follower": "○", "candidate": "▲", "pre-candidate": "△", "learner": "□", "starting": "…",
    "paused": "‖", "dead": "✗", "gave-up": "✗", "unreachable": "?", "unknown": "?",
}  # fmt: skip
LINK_MARKS = {"heard": "●", "cut": "✗", "bad": "~"}
LINK_WORDS = "rows send, columns hear: ● heard  ✗ cut  ~ slow or lossy  · quiet  - not up"
RUNS_NOT = frozenset({"dead", "gave-up", "paused", "starting", "unreachable"})
STRIP_SECONDS = 3600
FAULTS_NAMED = 4  # As on the page.
RECORDS_KEPT = 1000
MATRIX_NODES_MAX = 16
_STYLES = {"leader": "bold green", "dead": "red", "gave-up": "red", "paused": "yellow", "candidate": "yellow"}
_EVENT_STYLES = {
    "leader-elected": "green",
    "fault": "red",
    "node-exited": "red",
    "leader-lost": "yellow",
    "violation": "bold red",
}

Act = Callable[[Order], tuple[str, list[str]]]


def node_row(node: NodePicture, last: int) -> list[str]:
    """One node as the cells of its row."""
    words = f"{MARKS.get(node.condition, ' ')} {node.condition}" + (" CUT OFF" if node.cut_off else "")
    known = node.term > 0
    return [
        f"n{node.id}",
        words,
        str(node.term) if known else "-",
        str(node.commit) if known else "-",
        str(max(last - node.last, 0)) if known else "-",
        ("#" + ",".join(map(str, node.faults))) if node.faults else "-",
    ]


def matrix(picture: Picture) -> str:
    """Who hears whom: rows send, columns hear. Empty for more nodes than fit beside the table."""
    ids = sorted(int(node) for node in picture.nodes)
    if not ids or len(ids) > MATRIX_NODES_MAX:
        return ""
    absent = {one.id for one in picture.nodes.values() if one.silent or one.condition in RUNS_NOT}
    rows = ["hears " + " ".join(f"{node:>2}" for node in ids)]
    for source in ids:
        marks = (
            " "
            if source == target
            else "-"
            if {source, target} & absent
            else LINK_MARKS.get(picture.links.get(f"{source}>{target}", ""), "·")
            for target in ids
        )
        rows.append(f"n{source:<4} " + " ".join(f"{mark:>2}" for mark in marks))
    return "\n".join(rows)


def words(picture: Picture) -> str:
    """What is wrong, the worst first, and who hears whom, below the headline."""
    wrong = [f"VIOLATED: {one.name}: {one.text}" for one in picture.invariants if not one.holds]
    faults = [
        fault.text if fault.text.startswith(fault.kind) else f"{fault.kind} {fault.text}"
        for fault in picture.faults
    ]
    nothing = "nothing is broken" if picture.run else "nodes tell of nothing broken"
    hear = " | ".join(" ".join(f"n{node}" for node in group) for group in picture.groups)
    parts = [
        *wrong,
        f"hear each other only: {hear}" if hear else "",
        picture.incomplete,
    ]
    if picture.reachable >= picture.needed:  # Else the headline says so.
        parts.append(
            f"{picture.reachable} of {picture.voters} voters hear each other, {picture.needed} needed"
        )
    more = f", and {len(faults) - FAULTS_NAMED} more" if len(faults) > FAULTS_NAMED else ""
    parts.append(f"broken: {', '.join(faults[:FAULTS_NAMED])}{more}" if faults else nothing)
    return "; ".join(part for part in parts if part)


def strip(moments: Iterable[tuple[int, bool]], columns: int) -> str:
    """The last seconds, one a column: the leader's last digit, or ·; above it ! during a fault."""
    newest = list(moments)[-columns:]
    faults = "".join("!" if fault else " " for _, fault in newest)
    return f"{faults}\n" + "".join(str(leader % 10) if leader else "·" for leader, _ in newest)


class Top(App[None]):
    """A cluster in a terminal, until `q`."""

    CSS = """
    #headline { height: auto; max-height: 3; text-style: bold; }
    #words { height: auto; max-height: 3; }
    #links-words { height: auto; max-height: 1; }
    #upper { height: auto; max-height: 55%; }
    #nodes { width: 1fr; height: auto; max-height: 100%; }
    #links { width: auto; margin-left: 1; padding-right: 1; }
    #strip { height: 2; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.shown { display: block; }
    #records { height: 1fr; min-height: 3; }
    #answer { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "order('kill')", "Kill"),
        Binding("p", "order('pause')", "Pause"),
        Binding("r", "order('resume')", "Resume", show=False),
        Binding("s", "order('start')", "Start", show=False),
        Binding("i", "order('isolate')", "Cut off"),
        Binding("t", "order('transfer')", "Lead"),
        Binding("h", "order('clear-all')", "Heal all"),
        Binding("l", "logs", "Logs"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("q", "quit", "Quit"),
    ]
    ENABLE_COMMAND_PALETTE = True

    class Looked(Message):
        """The sampler has a new picture."""

    def __init__(self, source: Source, act: Act, *, read_only: bool = False) -> None:
        super().__init__()
        self._act = act
        self._read_only = read_only
        self._sampler = Sampler(source, self._tell)
        self._watching = contextlib.ExitStack()
        self._records: deque[Record] = deque(maxlen=RECORDS_KEPT)
        self._moments: deque[tuple[int, bool]] = deque(maxlen=STRIP_SECONDS)
        self._second = -1
        self._with_logs = False
        self._filter = ""

    def _tell(self) -> None:
        if self.is_running:
            self.post_message(self.Looked())

    def compose(self) -> ComposeResult:
        """Headline, nodes beside links, the strip of time, events, keys."""
        yield Static("connecting …", id="headline", markup=False)
        yield Static("", id="words", markup=False)
        with Horizontal(id="upper"):
            yield DataTable(id="nodes", cursor_type="row", zebra_stripes=False)
            yield Static("", id="links", markup=False)
        yield Static("", id="links-words", markup=False)
        yield Static("", id="strip", markup=False)
        yield Input(placeholder="text to look for; Enter", id="filter")
        yield RichLog(id="records", markup=False, wrap=True, max_lines=RECORDS_KEPT)
        yield Static("", id="answer", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look at the cluster."""
        self._table.add_columns("NODE", "ROLE", "TERM", "COMMIT", "LAG", "FAULTS")
        with contextlib.suppress(RuntimeError, ValueError):  # Only a main thread takes signals.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        self._place = self._watching.enter_context(self._sampler.viewer())
        self._table.focus()

    def on_unmount(self) -> None:
        """Look no longer."""
        self._watching.close()

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#nodes", DataTable)

    def on_top_looked(self) -> None:
        """Show the newest picture, and what has happened since the last."""
        if not self.query("#answer"):
            return  # Before the first layout, and after the last.
        news, picture = self._sampler.news(self._place), self._sampler.picture
        if picture is None or not news:
            return
        self._show(picture)
        self._take(news.get("records", []))

    def _take(self, records: list[Record]) -> None:
        """Nodes tell of the same moment in any order, and of the past at the beginning: lines are by time."""
        newest = self._records[-1].t if self._records else float("-inf")
        in_order = sorted(records, key=lambda record: record.t)
        self._records.extend(in_order)
        if in_order and in_order[0].t < newest:
            by_time = sorted(self._records, key=lambda record: record.t)
            self._records.clear()
            self._records.extend(by_time)
            self._write_anew()
        else:
            for record in in_order:
                self._write(record)

    def _show(self, picture: Picture) -> None:
        self.query_one("#headline", Static).update(picture.headline)
        self.query_one("#words", Static).update(words(picture))
        ways = matrix(picture)
        self.query_one("#links", Static).update(ways)
        self.query_one("#links-words", Static).update(LINK_WORDS if ways else "")
        if int(picture.t) != self._second:
            self._second = int(picture.t)
            self._moments.append((picture.leader, bool(picture.faults)))
            self.query_one("#strip", Static).update(strip(self._moments, max(self.size.width - 1, 10)))
        self._fill(picture)

    def _fill(self, picture: Picture) -> None:
        table, last = self._table, max((node.last for node in picture.nodes.values()), default=0)
        if [row.value for row in table.rows] != [*picture.nodes]:
            cursor = table.cursor_row
            table.clear()
            for name, node in picture.nodes.items():
                table.add_row(*map(Text, node_row(node, last)), key=name)
            table.move_cursor(row=cursor)
        for row, node in enumerate(picture.nodes.values()):
            style = "red" if node.cut_off else _STYLES.get(node.condition, "")
            for column, cell in enumerate(node_row(node, last)):
                table.update_cell_at((row, column), Text(cell, style), update_width=True)  # type: ignore[arg-type]

    def _write(self, record: Record) -> None:
        if record.source == "log" and not self._with_logs:
            return
        where = " ".join(f"n{node}" for node in record.nodes) if record.source == "log" else ""
        line = f"{record.t:8.2f}  {where} {record.text}" if where else f"{record.t:8.2f}  {record.text}"
        if self._filter.lower() in line.lower():
            self.query_one("#records", RichLog).write(Text(line, _EVENT_STYLES.get(record.kind, "")))

    def _write_anew(self) -> None:
        self.query_one("#records", RichLog).clear()
        for record in self._records:
            self._write(record)

    # -- keys --------------------------------------------------------------------------------------

    def action_logs(self) -> None:
        """The nodes' logs among the events, or not."""
        self._with_logs = not self._with_logs
        self._write_anew()

    def action_filter(self) -> None:
        """Ask for a text that lines must have."""
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The text to look for; none shows all."""
        self._filter = event.value
        event.input.remove_class("shown")
        self._table.focus()
        self._write_anew()

    def action_order(self, name: str) -> None:
        """Do that to the node under the cursor."""
        action = next(one for one in ACTIONS if one.name == name)
        row = self._table.cursor_row
        picture = self._sampler.picture
        nodes = [] if picture is None else [node.id for node in picture.nodes.values()]
        chosen = [] if action.on == "cluster" or not 0 <= row < len(nodes) else [nodes[row]]
        self._order(Order(name, chosen))

    def _order(self, order: Order) -> None:
        if self._read_only:
            self._answer("started with --read-only: nothing is done")
            return
        try:
            self._answer(f"raft-actors {request_of(order)[0]} …")
        except VerbFailed as failure:
            self._answer(str(failure))
            return
        self.run_worker(partial(self._carry_out, order), thread=True, exit_on_error=False)

    def _carry_out(self, order: Order) -> None:
        try:
            command, lines = self._act(order)
            said = " · ".join([f"$ {command}", *lines])
        except VerbFailed as failure:
            said = str(failure)
        self.call_from_thread(self._answer, said)

    def _answer(self, text: str) -> None:
        self.query_one("#answer", Static).update(text)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Each action in the palette (Ctrl-P), on the node under the cursor."""
        yield from super().get_system_commands(screen)
        for action in ACTIONS:
            if action.on in ("node", "one", "cluster", "nodes"):
                help_text = f"raft-actors {action.words.replace('{nodes}', 'NODE')}"
                yield SystemCommand(action.label, help_text, partial(self.action_order, action.name))
