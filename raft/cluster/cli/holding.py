"""The verbs of what programs hold: elect, lock, observe, watch.

Owns their command lines and exit codes. They talk to the nodes themselves, in an event loop that ends with
the verb.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from raft.cluster.cli import options
from raft.cluster.cli.app import LEAD, STORE, app, out, say, session_of
from raft.cluster.cli.connecting import verb_failed
from raft.cluster.failures import BadUsage

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.client.asyncio_election import AsyncElection
    from raft.machines.answers import Event

Result = TypeVar("Result")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Any text, up to 240 bytes.")]
Program = Annotated[list[str], typer.Argument(metavar="-- CMD…", help="A program and its arguments.")]
Ttl = Annotated[
    float,
    typer.Option(metavar="DURATION", parser=options.positive_duration, help="How long a lease lasts."),
]
TTL_SECONDS = 5.0


@app.command(rich_help_panel=LEAD, epilog="Example: launcher.py elect billing --ttl 5s -- ./run-billing")
def elect(
    context: typer.Context,
    name: Name,
    program: Program,
    ttl: Ttl = TTL_SECONDS,
    cluster: options.Cluster = None,
) -> None:
    """Wait until this process leads NAME, run CMD meanwhile, and end it if leadership is lost; exit 6 then.

    CMD finds its fencing token in FENCING_TOKEN; its own exit code is passed on.
    """
    _run_while(context, cluster, program, lambda client: client.election(name, ttl=ttl))


@app.command(rich_help_panel=LEAD, epilog="Example: launcher.py lock backup -- ./back-up")
def lock(
    context: typer.Context,
    name: Name,
    program: Program,
    ttl: Ttl = TTL_SECONDS,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Exit 5 if it is taken.")] = False,
    cluster: options.Cluster = None,
) -> None:
    """Run CMD while nobody else holds the lock NAME; otherwise as elect."""
    _run_while(context, cluster, program, lambda client: client.lock(name, ttl=ttl, wait=not no_wait))


@app.command(rich_help_panel=LEAD, epilog="Example: launcher.py observe billing")
def observe(context: typer.Context, name: Name, cluster: options.Cluster = None) -> None:
    """Who leads NAME, a line for each change: the revision, led or left, the token, what is announced."""

    async def follow(client: AsyncClient) -> None:
        async for event in client.election(name).observe():
            out(_line(event))

    _converse(context, cluster, follow)


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py watch jobs/ --prefix")
def watch(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key, or what keys begin with.")],
    prefix: Annotated[bool, typer.Option("--prefix", help="All keys that begin so.")] = False,
    revision: Annotated[int, typer.Option(min=0, help="From there on; 0 is from now on.")] = 0,
    cluster: options.Cluster = None,
) -> None:
    """What happens to a key, one line for each event: the revision, put or deleted, the key and the value.

    Should events be forgotten before they were told, the difference is told instead.
    """

    async def follow(client: AsyncClient) -> None:
        async for event in client.watch(os.fsencode(key), prefix=prefix, start_revision=revision):
            out(_line(event))

    _converse(context, cluster, follow)


def _line(event: Event) -> str:
    from raft.machines.answers import Item, Led, Removed

    if isinstance(event, Item):
        return f"{event.revision} put {os.fsdecode(event.key)} {os.fsdecode(event.value)}"
    if isinstance(event, Removed):
        return f"{event.revision} deleted {os.fsdecode(event.key)}"
    if isinstance(event, Led):
        return f"{event.revision} led {event.token} {os.fsdecode(event.value)}".rstrip()
    return f"{event.revision} left {event.token}"


def _run_while(
    context: typer.Context,
    cluster: str | None,
    program: list[str],
    stand: Callable[[AsyncClient], AsyncElection],
) -> None:
    async def hold(client: AsyncClient) -> int:
        async with stand(client) as lead:
            say(f"{lead.fence.election} is held with token {lead.token}")
            return await lead.run_program(program)

    try:
        code = _converse(context, cluster, hold)
    except OSError as error:
        raise BadUsage(f"{program[0]} can't be run: {error.strerror}") from error
    raise typer.Exit(code if code >= 0 else 128 - code)


def _converse(
    context: typer.Context, cluster: str | None, follow: Callable[[AsyncClient], Awaitable[Result]]
) -> Result:
    session = session_of(context)
    if session.at_prompt:
        raise BadUsage("type this verb in a terminal of its own: it goes on until it is ended")
    record = session.record(cluster)
    import asyncio  # Here, since few verbs need what follows, and all load this module.

    from raft.client import AsyncClient, errors

    endpoints = {node.id: node.endpoint for node in record.nodes}

    async def whole() -> Result:
        # What is held is given back, and what runs is ended, by SIGTERM as by Ctrl-C.
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with AsyncClient(endpoints, cluster=record.cluster) as client:
            return await follow(client)

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    except errors.ClientError as error:
        raise verb_failed(error) from error
