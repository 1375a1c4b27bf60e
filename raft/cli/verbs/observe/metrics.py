"""The verb that serves a cluster's metrics and health over HTTP.

Owns its command line, and which nodes are asked. What is served is the exporter's.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actors.errors import TransportError
from actors.transport.endpoints import check_target
from raft.cli import options
from raft.cli.app import OBSERVE, app, note, out, session_of
from raft.cluster.failures import BadUsage, VerbFailed
from raft.cluster.spec import ClusterRecord

if TYPE_CHECKING:
    from raft.exporter.scraper import Scraper

Listen = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        parser=options.listen_address,
        help="Where to serve; port 0 is any free one.",
        show_default="127.0.0.1:9100",
    ),
]
Timeout = Annotated[
    float,
    options.duration_option(help="A node that takes longer counts as down.", shown="1s"),
]


@app.command(rich_help_panel=OBSERVE, epilog="Example: launcher.py metrics --listen 127.0.0.1:9100")
def metrics(
    context: typer.Context,
    listen: Listen = "127.0.0.1:9100",
    timeout: Timeout = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one scrape, and end.")] = False,
    cluster: options.Cluster = None,
) -> None:
    """Serve /metrics for Prometheus, and the probes /livez, /readyz and /health, until Ctrl-C."""
    import asyncio  # Here, since few verbs need it.

    from raft.exporter.pages import Pages

    session = session_of(context)
    target = session.target(cluster)
    nodes: Callable[[], Mapping[int, str]] = partial(dict, target.endpoints)
    if not session.is_remote(cluster):
        nodes = partial(nodes_now, session.run_directory(cluster).record, target.endpoints)
    _check_endpoints(target.endpoints, target.keys)
    label = target.name or target.cluster
    make = scraper_of(nodes, target.cluster, label, target.keys, timeout)

    async def print_once() -> None:
        with contextlib.closing(make()) as scraper:
            out((await Pages(scraper).metrics()).rstrip())

    if once:
        asyncio.run(_refusing(print_once))
        return
    if session.at_prompt:
        raise BadUsage("it would serve for ever: type it at another terminal, or start with `up --metrics`")
    at = listening_at(listen)
    note(context, f"serving http://{address_of(at)}/metrics")

    async def serve() -> None:
        from raft.exporter.server import run

        await run(at, make)

    asyncio.run(_refusing(serve))


def _check_endpoints(endpoints: Mapping[int, str], keys: str | None) -> None:
    """Raise BadUsage for one that could never be reached: it would show as a node that is down."""
    for endpoint in endpoints.values():
        try:
            check_target(endpoint, has_keys=bool(keys))
        except TransportError as error:
            raise BadUsage(str(error)) from error


async def _refusing(serve: Callable[[], object]) -> None:
    from actors.errors import ActorsError

    try:
        await serve()  # type: ignore[misc]
    except ActorsError as error:
        raise VerbFailed(str(error)) from error


def scraper_of(
    endpoints: Callable[[], Mapping[int, str]], cluster: str, label: str, keys: str | None, timeout: float
) -> Callable[[], Scraper]:
    """What makes the exporter's source, inside the loop that it will live in."""
    from raft.exporter.scraper import Scraper

    return lambda: Scraper(endpoints, cluster=cluster, label=label, keys=keys, timeout_seconds=timeout)


def nodes_now(path: Path, before: Mapping[int, str]) -> dict[int, str]:
    """The nodes that a launcher has now; those of before, if it has ended."""
    with contextlib.suppress(VerbFailed):
        return {node.id: node.endpoint for node in ClusterRecord.read(path).nodes}
    return dict(before)


def listening_at(text: str) -> socket.socket:
    """A socket that listens at HOST:PORT. Raises VerbFailed if it cannot."""
    host, _, port = text.rpartition(":")
    from raft.exporter.server import listening

    try:
        return listening(host.strip("[]"), int(port))
    except OSError as error:
        raise VerbFailed(
            f"metrics cannot be served at {text}: {error.strerror}; choose another port, or 0 for any"
        ) from error


def address_of(at: socket.socket) -> str:
    """Where a socket listens, as in an URL."""
    host, port = at.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
