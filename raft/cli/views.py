"""The cluster as text: event lines, tables, log lines.

Owns layout and colour only: values in, strings out. There is no colour if the output is no terminal or
refuses it (NO_COLOR, TERM=dumb).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from raft.cluster.quantities import count_of
from raft.cluster.records.event_words import event_words, printable
from raft.cluster.records.events import Event
from raft.cluster.records.logs import LogLine
from raft.cluster.records.report import LeaderReport, Leadership
from raft.cluster.records.timestamps import Stamp
from raft.cluster.rpc.messages import ClusterStatus, FaultList, MemberList, NodeView
from raft.cluster.selectors import names

if TYPE_CHECKING:
    from raft.storage.dump import DumpedRecord

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}
_NODE_COLOURS = ("cyan", "magenta", "green", "yellow", "blue")
_LEVEL_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_BLANK = "-"
_MESSAGE_CHARACTERS_MAX = 16 * 1024
ELAPSED = Stamp()
_STATUS_TITLES = (
    "NODE", "PID", "ROLE", "TERM", "LEADER", "COMMIT", "APPLIED", "LAG", "CONTACT", "RESTARTS", "CPU", "RSS",
    "SPACE", "HEARS", "RELEASE", "ALARMS", "FAULTS",
)  # fmt: skip
# What nodes on other hosts do not tell is known to a launcher alone, and the other way round.
_LAUNCHER_ONLY = {"PID", "RESTARTS", "CPU", "RSS"}
_NODES_ONLY = {"HEARS", "RELEASE"}
_STATUS_LEFT = {"NODE", "ROLE", "HEARS", "RELEASE", "ALARMS", "FAULTS"}
_STATUS_SPARE = (
    "RSS",
    "CPU",
    "SPACE",
    "APPLIED",
    "RESTARTS",
    "PID",
    "RELEASE",
    "COMMIT",
)  # In the order of omission.


def wants_colour(stream: TextIO) -> bool:
    """May lines on this stream be coloured and the cursor moved?"""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class Paint:
    """ANSI colours, or none."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def __call__(self, text: str, *styles: str) -> str:
        """`text` in those styles."""
        if not self._enabled or not styles:
            return text
        codes = ";".join(str(_STYLES[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def node(self, node: int, text: str = "") -> str:
        """A node's name, or a text, in the node's own colour."""
        return self(text or f"n{node}", _NODE_COLOURS[(node - 1) % len(_NODE_COLOURS)])


def event_line(event: Event, paint: Paint, stamp: Stamp = ELAPSED) -> str:
    """One event as a line."""
    return f"{stamp.of_event(event)}  {event_words(event, paint)}"


def status_table(
    status: ClusterStatus, paint: Paint, columns: int | None = None, *, by_nodes: bool = False
) -> str:
    """The status: a header, the nodes cut off, a line for each node; columns are omitted to fit the width.

    `by_nodes`: the nodes were asked and no launcher, which alone knows of processes.
    """
    lead = "no leader" if status.leader is None else f"leader n{status.leader}"
    header = f"{status.cluster}  {paint(lead, 'bold')}  term {status.term}  {_quorum_words(status, paint)}"
    if status.out_of_space:
        header += "  " + paint("OUT OF SPACE", "bold", "red")
    apart = [node.id for node in status.nodes if node.state == "running" and not node.in_quorum]
    if apart:
        header += "\n" + paint(f"cut off, though running: {names(apart)}", "bold", "red")
    if status.machine:
        header += f"\nmachine {printable(status.machine)}  {_machine_versions(status.nodes)}"
    leader = next((node for node in status.nodes if node.id == status.leader), None)
    last = leader.last if leader is not None else None
    styles = [_status_style(node) for node in status.nodes]
    hidden = _NODES_ONLY if not by_nodes else _LAUNCHER_ONLY
    if not any(node.alarms for node in status.nodes):
        hidden = hidden | {"ALARMS"}
    shown = [title for title in _STATUS_TITLES if title not in hidden]
    rows = [dict(zip(_STATUS_TITLES, _status_row(node, last), strict=True)) for node in status.nodes]
    if columns is not None:
        _fit(shown, rows, columns)
    cells = [[row[title] for title in shown] for row in rows]
    left = {shown.index(title) for title in shown if title in _STATUS_LEFT}
    return f"{header}\n{table(shown, cells, paint, left=left, styles=styles)}"


def _fit(shown: list[str], rows: Sequence[dict[str, str]], columns: int) -> None:
    """Leave columns out of `shown` until a line fits; then shorten the cells that are lists."""

    def width(titles: Sequence[str]) -> int:
        return sum(max(len(title), *(len(row[title]) for row in rows)) + 2 for title in titles) - 2

    for title in _STATUS_SPARE:
        if title in shown and width(shown) > columns:
            shown.remove(title)
    for title in ("FAULTS", "HEARS"):
        if title in shown and width(shown) > columns:
            room = columns - 2 - width([other for other in shown if other != title])
            for row in rows:
                row[title] = _within(row[title], room)


def _within(words: str, room: int) -> str:
    """As many of the words as there is room for, and how many more there are; of faults their ids alone."""
    if len(words) <= room:
        return words
    short = [word[max(word.find("#"), 0) :] for word in words.split()]
    for kept in range(len(short), 0, -1):
        text = " ".join([*short[:kept], *([f"+{len(short) - kept}"] if kept < len(short) else [])])
        if len(text) <= room:
            return text
    return f"+{len(short)}"


def _quorum_words(status: ClusterStatus, paint: Paint) -> str:
    quorum = status.quorum
    reachable, needed = (status.alive, status.voters // 2 + 1) if quorum is None else (
        quorum.reachable, quorum.needed)  # fmt: skip
    if reachable < needed:
        words = f"NO QUORUM {reachable}/{status.voters}, {needed} needed"
        since = "" if quorum is None or quorum.since_s is None else f", for {quorum.since_s:.1f}s"
        return paint(words + since, "bold", "red")
    words = f"quorum {reachable}/{status.voters}, can lose {status.can_lose}"
    return words if reachable == status.voters else paint(words, "yellow")


def _machine_versions(nodes: Sequence[NodeView]) -> str:
    """The version that all members have agreed on, and who has another one."""
    agreed = max((node.cluster_version or 0 for node in nodes), default=0)
    if not agreed:
        return "version unknown, as no node answers"
    others = [
        f"n{node.id} has {node.machine_version}"
        for node in nodes
        if node.machine_version not in (None, agreed)
    ]
    return f"version {agreed}" + (f" ({', '.join(others)})" if others else "")


def _status_row(node: NodeView, last: int | None) -> list[str]:
    lag = None if last is None or node.last is None else max(last - node.last, 0)
    return [
        f"n{node.id}",
        _or_blank(node.pid),
        node.role if node.state == "running" and node.role else node.state,
        _or_blank(node.term),
        f"n{node.leader}" if node.leader else _BLANK,
        _or_blank(node.commit),
        _or_blank(node.applied),
        _or_blank(lag),
        _BLANK if node.contact_ms is None else f"{node.contact_ms:.0f}ms",
        str(node.restarts),
        _BLANK if node.cpu_percent is None else f"{node.cpu_percent:.1f}%",
        _BLANK if node.rss_bytes is None else f"{node.rss_bytes / 1e6:.0f}MB",
        f"{node.used_bytes / node.quota_bytes:.0%}" if node.used_bytes and node.quota_bytes else _BLANK,
        names(node.hears or []) or _BLANK,
        node.release or _BLANK,
        " ".join(node.alarms) or _BLANK,
        " ".join(node.faults) or _BLANK,
    ]


def _status_style(node: NodeView) -> tuple[str, ...]:
    if node.state in ("down", "gave-up") or (node.state == "running" and not node.in_quorum):
        return ("red",)
    if node.state in ("paused", "starting"):
        return ("yellow",)
    return ("bold", "green") if node.role == "leader" else ()


def report_table(report: LeaderReport, paint: Paint, stamp: Stamp = ELAPSED) -> str:
    """The leader report: a line for each leader, then the totals."""
    titles = ["TERM", "NODE", "ELECTED", "LASTED", "TOOK", "VOTES", "REASON", "ENDED"]
    rows = [_report_row(leadership, stamp) for leadership in report.leaders]
    lines = [table(titles, rows, paint, left={1, 6, 7})] if rows else ["no leader so far"]
    if report.leaderless_terms:
        terms = ", ".join(str(term) for term in report.leaderless_terms)
        lines.append(f"terms without a leader: {terms}")
    lines += [paint(f"VIOLATION  {violation.text}", "bold", "red") for violation in report.violations]
    lines.append(
        f"{count_of(len(report.leaders), 'leader')} in {count_of(report.elections, 'election')}, "
        f"{report.leaderless_s:.3f} s without a leader, "
        f"{count_of(len(report.violations), 'safety violation')}"
    )
    return "\n".join(lines)


def _report_row(leadership: Leadership, stamp: Stamp) -> list[str]:
    return [
        str(leadership.term),
        f"n{leadership.node}",
        stamp.of_elapsed(leadership.elected_t),
        f"{leadership.lasted_s:.3f}s",
        f"{leadership.took_ms:.1f}ms" if leadership.votes else "-",
        str(leadership.votes or "-"),
        leadership.reason,
        leadership.ended or "leads",
    ]


def fault_table(faults: FaultList, paint: Paint) -> str:
    """The injected faults."""
    rows = [[str(fault.id), fault.kind, names(fault.nodes), fault.text] for fault in faults.faults]
    return table(["ID", "KIND", "NODES", "WHAT"], rows, paint, left={1, 2, 3}) if rows else "no faults"


def member_table(listed: MemberList, paint: Paint) -> str:
    """The members of the cluster."""
    rows = [
        [
            f"n{member.id}",
            "leader" if member.id == listed.leader else member.role,
            member.state or _BLANK,
            str(member.match),
            str(member.lag),
            member.endpoint,
        ]
        for member in listed.members
    ]
    styles = [("bold", "green") if member.id == listed.leader else () for member in listed.members]
    titles = ("NODE", "MEMBER", "STATE", "MATCH", "LAG", "ENDPOINT")
    return table(titles, rows, paint, left={0, 1, 2, 5}, styles=styles)


def log_line(line: LogLine, paint: Paint, stamp: Stamp = ELAPSED) -> str:
    """One formatted line of a node's log; a traceback follows on lines of its own."""
    clock = f"{stamp.of_wall(line.moment) if line.time else '':>12}"
    where = f"{line.role} t{line.term}" if line.role and line.term is not None else ""
    level = line.level if line.level in _LEVEL_COLOURS else ""
    words = printable(" ".join(part for part in (level, line.event, _cut(line.message)) if part))
    colour = _LEVEL_COLOURS.get(line.level)
    first = f"{clock} {paint.node(line.node)} {where:<15} {paint(words, colour) if colour else words}"
    more = [
        f"{'':>12} {paint.node(line.node)}   {printable(row)}"
        for row in _cut(line.traceback).split("\n")
        if row
    ]
    return "\n".join([first, *more])


def _cut(text: str) -> str:
    if len(text) <= _MESSAGE_CHARACTERS_MAX:
        return text
    return f"{text[:_MESSAGE_CHARACTERS_MAX]} … (cut: {len(text):,} characters, all with -o raw)"


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Paint,
    *,
    left: frozenset[int] | set[int] = frozenset(),
    styles: Sequence[tuple[str, ...]] = (),
) -> str:
    """Columns under titles; those in `left` are aligned to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]

    def laid_out(row: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    lines = [paint(laid_out(titles), "dim")]
    for position, row in enumerate(rows):
        lines.append(paint(laid_out(row), *(styles[position] if styles else ())))
    return "\n".join(lines)


def _or_blank(value: int | None) -> str:
    return _BLANK if value is None else str(value)


def record_line(record: DumpedRecord, paint: Paint) -> str:
    """One record of a log, or one damaged range."""
    place = f"{record.segment}:{record.offset:<8}"
    index = "" if record.index is None else str(record.index)
    term = "" if record.term is None else str(record.term)
    words = f"{place}  {record.kind:<10}  {index:>8}  {term:>5}  {record.text}"
    return paint(words, "red") if record.kind in ("damaged", "torn", "missing") else words
