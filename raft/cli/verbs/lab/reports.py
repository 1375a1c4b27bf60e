"""The verbs that evaluate a run: judge for a history, timeline for a page or a trace.

Owns their command lines. Checkers and reports are in raft.lab, which is loaded only by these verbs.
"""

from __future__ import annotations

import enum
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from raft.cli import options
from raft.cli.app import FAULTS, OBSERVE, Session, app, note, out, paint, session_of
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed
from raft.cluster.records.events import encode_event, read_events

if TYPE_CHECKING:
    from raft.lab.checkers.verdict import Verdict
    from raft.lab.reports.run import Run


class SelectionScope(enum.StrEnum):
    """The formats of a timeline."""

    HTML = "html"
    SVG = "svg"
    PERFETTO = "perfetto"
    JSONL = "jsonl"


@app.command(rich_help_panel=FAULTS, epilog="Example: launcher.py judge ./chaos-7")
def judge(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="A history in JSON lines, from any program, or the directory of a chaos run.",
        ),
    ],
    output: options.Output = options.Format.TABLE,
) -> None:
    """Check a history. Exit 0 if it is consistent, 10 if not, 1 if that cannot be decided.

    In a directory, history.jsonl is checked, together with the elections in events.jsonl. The logs of the
    nodes, which chaos reads too, are ignored.
    """
    from raft.lab.checkers.judge import judge_file
    from raft.lab.checkers.records import MalformedHistory
    from raft.lab.checkers.verdict import Ruling, encode_verdict

    started = time.monotonic()
    try:
        verdict = _judge_run(path) if path.is_dir() else judge_file(path)
    except MalformedHistory as wrong:
        raise BadUsage(f"{path}: {wrong}") from None
    except msgspec.DecodeError as error:
        raise BadUsage(f"{path} holds a line that is no event: {error}") from None
    except OSError as error:
        raise BadUsage(f"{error.filename or path} cannot be read: {error.strerror}") from None
    if output is options.Format.JSON:
        out(encode_verdict(verdict).decode())
    else:
        _show(verdict, time.monotonic() - started)
    ends = {Ruling.LEGAL: ExitCode.OK, Ruling.ILLEGAL: ExitCode.VIOLATION}
    raise typer.Exit(ends.get(verdict.ruling, ExitCode.FAILURE))


def _judge_run(directory: Path) -> Verdict:
    from raft.lab.checkers.judge import judge_file
    from raft.lab.checkers.leadership import judge_events

    verdict = judge_file(directory / "history.jsonl")
    events = directory / "events.jsonl"
    return verdict.with_more(judge_events(read_events(events))) if events.exists() else verdict


def _show(verdict: Verdict, took_seconds: float) -> None:
    style = paint()
    out(style(verdict.sentence(), "green" if verdict.passed else "red"))
    for left_out in verdict.notes:
        out(f"unchecked: {left_out}")
    for anomaly in verdict.anomalies:
        out(f"\n{style(anomaly.name, 'bold')}  {anomaly.text}")
        for record in anomaly.operations:
            until = "…" if record.returned is None else f"{record.returned:.6f}s"
            place = f"  (line {record.line})" if record.line else ""
            out(f"  {record.call:.6f}s – {until}  {record.describe()}{place}")
    out(f"checked in {took_seconds:.2f} s")


@app.command(
    rich_help_panel=OBSERVE,
    epilog="Example: launcher.py timeline --to now.html --open",
)
def timeline(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="An events.jsonl or the directory of a run; by default the running cluster."
        ),
    ] = None,
    output: Annotated[
        SelectionScope,
        typer.Option("--output", "-o", help="A page, a drawing, a trace for Perfetto, or lines."),
    ] = SelectionScope.HTML,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="Write to this file; by default to stdout.", show_default=False
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="With --to: open the file in a browser.")] = False,
    cluster: options.Cluster = None,
) -> None:
    """The run as a picture: leaders, faults, and the clients' operations over time."""
    if open_ and to is None:
        raise BadUsage("--open needs a file: name it with --to FILE")
    if to is None and output is not SelectionScope.JSONL and sys.stdout.isatty():
        raise BadUsage(f"{output.value} is not for a terminal: write it to a file with --to FILE")
    from raft.lab.reports.perfetto import trace
    from raft.lab.reports.report import page, picture
    from raft.lab.reports.run import read_run

    try:
        run = read_run(path) if path is not None else _running(session_of(context), cluster)
    except msgspec.DecodeError as error:
        raise BadUsage(f"{path} holds no events: {error}") from None
    except OSError as error:
        raise BadUsage(f"{path} cannot be read: {error.strerror}") from None
    match output:
        case SelectionScope.HTML:
            text = page(run)
        case SelectionScope.SVG:
            text = picture(run)
        case SelectionScope.PERFETTO:
            text = trace(run)
        case SelectionScope.JSONL:
            text = "\n".join(encode_event(event).decode() for event in run.events)
    if to is None:
        out(text)
        return
    try:
        to.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise VerbFailed(f"{to} cannot be written: {error.strerror}") from error
    note(context, f"written to {to}")
    if open_ and not _show_in_browser(to):
        raise VerbFailed(f"no browser could be started; {to} is written")


def _show_in_browser(path: Path) -> bool:
    import webbrowser

    return webbrowser.open(path.absolute().as_uri())


def _running(session: Session, cluster: str | None) -> Run:
    from raft.lab.reports.run import Run

    record = session.record(cluster)
    now = time.monotonic() - record.started_seconds
    return Run(events=read_events(Path(record.events)), now=now)
