"""The verbs that show a cluster as it lives: web, top, tour.

Owns their command lines, and what `up --web` adds to a launcher. What they need beyond the package itself
(the extras `web` and `top`) is loaded here alone, and only by the verb that needs it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raft.cli import options
from raft.cli.app import OBSERVE, Session, app, out, say, session_of
from raft.cluster.failures import BadUsage, VerbFailed
from raft.cluster.records.event_words import event_words, printable
from raft.cluster.records.events import Event
from raft.cluster.rpc import messages
from raft.live.address import Address, address_at

if TYPE_CHECKING:
    from raft.live.actions import Order
    from raft.live.sampler import Source
    from raft.live.web import Server

ACT_SECONDS_MAX = 65.0
START_SECONDS_MAX = 5.0  # A cluster that is not up by then is looked at nevertheless.
_NEEDS = {"web": ("starlette", "uvicorn"), "top": ("textual",)}

ReadOnly = Annotated[bool, typer.Option("--read-only", help="Look only: nothing can be broken or mended.")]


def require(extra: str) -> None:
    """Raise VerbFailed where what the extra of that name brings is not installed."""
    missing = [name for name in _NEEDS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise VerbFailed(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: "
            f"pip install 'raft-actors[{extra}]'"
        )


def text_of(event: Event) -> str:
    """An event for a view, in one line without colours."""
    return printable(event_words(event))


def act_on(session: Session, cluster: str | None, order: Order) -> tuple[str, list[str]]:
    """Let the cluster carry out what was chosen in a view; see `raft.live.web.Act`."""
    from raft.live.actions import request_of

    command, request = request_of(order)
    with session.launcher(cluster) as launcher:
        return f"raft-actors {command}", launcher.ask(request, messages.Done, ACT_SECONDS_MAX).lines


def source_of(session: Session, cluster: str | None) -> Source:
    """What a view looks at: a launcher on this machine, or the nodes at their endpoints."""
    from raft.live.nodes import NodesConnection
    from raft.live.sampler import LauncherSource, NodesSource

    if session.is_remote(cluster):
        from raft.cli.connection import verb_failed
        from raft.cli.remote import RemoteCluster
        from raft.cli.remote_looks import RemoteLooks

        target = session.target(cluster)
        asker = RemoteLooks(RemoteCluster(target, verb_failed))
        return NodesSource(asker, text_of, partial(NodesConnection, target.cluster, target.keys))
    return LauncherSource(partial(session.run_directory, cluster), text_of)


def server_at(address: Address, session: Session, cluster: str | None, *, read_only: bool) -> Server:
    """A page there, not yet served."""
    from raft.live.web import Server

    source, act = source_of(session, cluster), partial(act_on, session, cluster)
    return Server(address, source, act, read_only=read_only)


class PageOfLauncher:
    """The page of `up --web`. Its address holds from the beginning; what serves it is loaded on a thread of
    its own once the cluster is up, which so starts as quickly as without a page.
    """

    def __init__(self, place: str, cluster: str, kept_in: Path | None) -> None:
        require("web")
        self._address = address_at(place, kept_in)
        self._cluster = cluster
        self._up, self._closing = threading.Event(), False
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address."""
        return self._address.url

    def cluster_is_up(self) -> None:
        """All nodes have started. Without this the page is served after a while, to show what is wrong."""
        self._up.set()

    def close(self) -> None:
        """Serve no longer."""
        self._closing = True
        self._up.set()
        self._thread.join()
        if self._server is not None:
            self._server.close()

    def _serve(self) -> None:
        self._up.wait(START_SECONDS_MAX)
        if not self._closing:
            self._server = server_at(self._address, Session(), self._cluster, read_only=False)
            self._server.start()


class TopOfLauncher:
    """The terminal view of `up --top`, as a process of its own: no launcher loads its library."""

    def __init__(self, cluster: str, ended: Callable[[], None]) -> None:
        require("top")
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise BadUsage("--top is for a terminal")
        self._command = [sys.executable, sys.argv[0], "top", "--cluster", cluster]
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None

    def cluster_is_up(self) -> None:
        """Show it; `ended` is called when the user has left it."""
        self._process = subprocess.Popen(self._command)
        threading.Thread(target=self._wait, args=(self._process,), name="top", daemon=True).start()

    def close(self) -> None:
        """Give the terminal back."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._ended()


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py web --listen 8080")
def web(
    context: typer.Context,
    listen: Annotated[
        str,
        typer.Option(
            metavar="PORT",
            parser=options.web_address,
            help="Where to serve: a port, or HOST:PORT for other machines; 0: any that is free.",
        ),
    ] = "127.0.0.1:0",
    read_only: ReadOnly = False,
    cluster: options.Cluster = None,
) -> None:
    """The cluster in a browser, live: who leads, who hears whom; break and mend by click. Until Ctrl-C."""
    session = session_of(context)
    if session.at_prompt:
        raise BadUsage("it would serve for ever: type it at another terminal, or start with `up --web`")
    session.target(cluster)  # A name that means nothing is better said now.
    require("web")
    server = server_at(address_at(listen), session, cluster, read_only=read_only)
    if not listen.startswith(("127.", "localhost:", "[::1]:")):
        say("note: the page is served without encryption; across a network, use a tunnel (ssh -L)", "yellow")
    server.run(lambda: out(server.url))


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py top")
def top(context: typer.Context, read_only: ReadOnly = False, cluster: options.Cluster = None) -> None:
    """The cluster in this terminal, live; a key for each action, Ctrl-P for all of them, q to leave."""
    session = session_of(context)
    if session.at_prompt:
        raise BadUsage("it takes the whole screen: type it at another terminal")
    session.target(cluster)
    require("top")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadUsage("top is for a terminal; for programs there is `status -w -o json`")
    from raft.live.top import Top

    Top(source_of(session, cluster), partial(act_on, session, cluster), read_only=read_only).run()
