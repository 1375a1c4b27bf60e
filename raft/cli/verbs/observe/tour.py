"""The verb `tour`: scenes on a cluster of its own, each command shown, carried out, and its output seen.

Owns the cluster of the tour, the pauses between scenes, and waiting until a command shows what it should.
The scenes are in `raft.live.tour`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import shlex
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from raft.cli.app import OBSERVE, Session, app, out, paint, run_verb, session_of
from raft.cli.verbs.observe.live import act_on, require, source_of
from raft.cluster.failures import BadUsage, VerbFailed
from raft.live.address import address_at

if TYPE_CHECKING:
    from raft.live.actions import Order
    from raft.live.tour import Progress, Scene, Step

COLUMNS = 78
PATIENCE_SECONDS = 15.0
AGAIN_SECONDS = 0.2
_TOKEN = re.compile(r"with token (\d+)")


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py tour")
def tour(
    context: typer.Context,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Go on after each scene by itself.")] = False,
    web: Annotated[bool, typer.Option("--web", help="Show it in a browser as well.")] = False,
) -> None:
    """Eight short scenes on a cluster of their own: elections, partitions, fencing, members, snapshots."""
    if session_of(context).at_prompt:
        raise BadUsage("it starts a cluster of its own: type it at another terminal")
    from raft.lab.chaos.cluster import hosted
    from raft.live.tour import NODES, SCENES, Progress, Step

    if web:
        require("web")
    waits, progress = not no_wait and (web or sys.stdin.isatty()), Progress()
    name = f"tour-{os.getpid()}"
    unexpected: list[str] = []
    with tempfile.TemporaryDirectory(prefix="raft-actors-tour-") as directory:
        out(_filled(f"{len(SCENES)} scenes, with {NODES} nodes. Enter goes on, Ctrl-C ends."))
        with hosted(name, NODES, Path(directory) / "data", ()), _page(name, progress, wanted=web):
            _said_in_time(Step("leader --wait 10s"), name)
            if waits and web:
                _await_sign(progress)
            for number, scene in enumerate(SCENES, 1):
                unexpected += _play(number, scene, name, progress)
                if waits and (web or number < len(SCENES)):
                    _await_sign(progress)
    if unexpected:
        raise VerbFailed(f"not as in the book: {'; '.join(unexpected)}")


@contextlib.contextmanager
def _page(cluster: str, progress: Progress, *, wanted: bool) -> Iterator[None]:
    """Show the tour on a page, too."""
    if not wanted:
        yield
        return
    from raft.live.tour import GO_ON, TourSource
    from raft.live.web import Server

    session = Session()

    def act(order: Order) -> tuple[str, list[str]]:
        if order.action != GO_ON:
            return act_on(session, cluster, order)
        progress.asked_on.set()
        return "tour", ["goes on"]

    source = TourSource(source_of(session, cluster), progress)
    with contextlib.closing(Server(address_at("127.0.0.1:0"), source, act, read_only=False)) as server:
        server.start()
        out(f"page: {server.url}")
        yield


def _play(number: int, scene: Scene, cluster: str, progress: Progress) -> list[str]:
    """One scene; the commands that ended as they should not."""
    colours = paint()
    progress.begin(number, scene)
    out(f"\n{colours(f'{number}. {scene.title}', 'bold')}\n{_filled(scene.words)}")
    wrong, token = [], ""
    for scripted in scene.steps:
        step = msgspec.structs.replace(scripted, command=scripted.command.replace("TOKEN", token))
        out(f"\n{colours(f'$ raft-actors {step.command}', 'bold', 'cyan')}")
        code, said = _said_in_time(step, cluster)
        if found := _TOKEN.search(said):
            token = found[1]
        out(textwrap.indent(said.rstrip() or "(nothing is said)", "  "))
        progress.add(step.command, said.rstrip(), step.look)
        if code not in step.codes or step.says not in said:
            wrong.append(step.command)
        if step.look:
            out(colours(_filled(f"→ {step.look}"), "green"))
    return wrong


def _said_in_time(step: Step, cluster: str) -> tuple[int, str]:
    """A command's exit code and output; again for a while, if it does not show yet what it should."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        code, said = _carried_out(step.command, cluster)
        if not step.says or step.says in said or time.monotonic() > until:
            return code, said
        time.sleep(AGAIN_SECONDS)


def _carried_out(command: str, cluster: str) -> tuple[int, str]:
    raw = io.BytesIO()
    said = io.TextIOWrapper(raw, "utf-8", write_through=True)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run_verb(["--cluster", cluster, *shlex.split(command)], Session())
    return code, raw.getvalue().decode(errors="replace")


def _filled(text: str) -> str:
    return textwrap.fill(text, COLUMNS)


def _await_sign(progress: Progress) -> None:
    """Wait for Enter here, or for the page."""
    has_terminal = sys.stdin.isatty()
    if has_terminal:
        sys.stderr.write("\n— Enter —")
        sys.stderr.flush()

    def entered() -> bool:
        if not has_terminal or not select.select([sys.stdin], [], [], 0)[0]:
            return False
        if not sys.stdin.readline():
            raise KeyboardInterrupt
        return True

    progress.wait(entered)
