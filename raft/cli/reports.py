"""The verbs that tell what happened: a verdict on a history, a picture of a run.

Owns their command lines. Judges and painters are in raft.lab, which is loaded only when these verbs are used.
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
from raft.cli.app import BREAK, LOOK, Session, app, note, out, paint, session_of
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed
from raft.cluster.records.events import encode_event, read_events

if TYPE_CHECKING:
    from raft.lab.checkers.verdict import Verdict
    from raft.lab.reports.run import Run


class Picture(enum.StrEnum):
    """What a timeline is drawn as."""

    HTML = "html"
    SVG = "svg"
    PERFETTO = "perfetto"
    JSONL = "jsonl"


@app.command(rich_help_panel=BREAK, epilog="Example: launcher.py judge ./chaos-7")
def judge(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="A history in JSON lines, whatever wrote it, or the directory of a run of chaos.",
        ),
    ],
    output: options.Output = options.Format.TABLE,
) -> None:
    """Could what clients saw have happened? Exit 0 if it could, 10 if not, 1 if it cannot be told.

    Of a directory, history.jsonl is judged, and the elections in events.jsonl with it. The logs of the nodes,
    which chaos reads too, are not looked at.
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
        raise BadUsage(f"{path} holds what is no event: {error}") from None
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
        out(f"not judged: {left_out}")
    for anomaly in verdict.anomalies:
        out(f"\n{style(anomaly.name, 'bold')}  {anomaly.text}")
        for record in anomaly.operations:
            until = "…" if record.returned is None else f"{record.returned:.6f}s"
            place = f"  (line {record.line})" if record.line else ""
            out(f"  {record.call:.6f}s – {until}  {record.describe()}{place}")
    out(f"judged in {took_seconds:.2f} s")


@app.command(
    rich_help_panel=LOOK,
    epilog="Example: launcher.py timeline --to now.html --open",
)
def timeline(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="An events.jsonl or the directory of a run; else the running cluster."
        ),
    ] = None,
    output: Annotated[
        Picture, typer.Option("--output", "-o", help="A page, a drawing, a trace for Perfetto, or lines.")
    ] = Picture.HTML,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Write it there; else to stdout.", show_default=False),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="With --to: show it in a browser.")] = False,
    cluster: options.Cluster = None,
) -> None:
    """A picture of what happened: who led when, what was broken, how clients fared."""
    if open_ and to is None:
        raise BadUsage("--open shows a file: name it with --to FILE")
    if to is None and output is not Picture.JSONL and sys.stdout.isatty():
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
        case Picture.HTML:
            text = page(run)
        case Picture.SVG:
            text = picture(run)
        case Picture.PERFETTO:
            text = trace(run)
        case Picture.JSONL:
            text = "\n".join(encode_event(event).decode() for event in run.events)
    if to is None:
        out(text)
        return
    try:
        to.write_text(text + "\n")
    except OSError as error:
        raise VerbFailed(f"{to} cannot be written: {error.strerror}") from error
    note(context, f"written to {to}")
    if open_ and not _show_in_browser(to):
        raise VerbFailed(f"there is no browser that could be started; {to} is written")


def _show_in_browser(path: Path) -> bool:
    import webbrowser

    return webbrowser.open(path.absolute().as_uri())


def _running(session: Session, cluster: str | None) -> Run:
    from raft.lab.reports.run import Run

    record = session.record(cluster)
    now = time.monotonic() - record.started_seconds
    return Run(events=read_events(Path(record.events)), now=now)
