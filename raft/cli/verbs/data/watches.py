"""The verbs that follow changes: observe, watch; and the event loop for verbs that run on.

Owns their command lines and exit codes. They connect to the nodes themselves, in an event loop that ends with
the verb.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from raft.cli import options
from raft.cli.app import LEADERSHIP, STORE, app, note, out, out_json, session_of
from raft.cli.connection import verb_failed
from raft.cli.formats import event_fields
from raft.cluster.failures import BadUsage

if TYPE_CHECKING:
    from raft.client.asyncio_client import AsyncClient
    from raft.machines.results import Event

    Follow = Callable[[AsyncClient], Coroutine[Any, Any, None]]

Result = TypeVar("Result")

LOOK_SECONDS = 0.5  # How soon it is noticed that the cluster has ended.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def _text(word: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise BadUsage(f"{word!r} is not text in UTF-8") from None
    return word


Name = Annotated[
    str, typer.Argument(metavar="NAME", parser=options.checked(_text), help="Any text, up to 240 bytes.")
]


@app.command(rich_help_panel=LEADERSHIP, epilog="Example: launcher.py observe billing")
def observe(
    context: typer.Context,
    name: Name,
    output: options.Lines = options.LineFormat.LINE,
    cluster: options.Cluster = None,
) -> None:
    """The leader of NAME, a line for each change.

    The revision, led or left, the token, the announced value.
    """

    _title(context, "REVISION EVENT TOKEN VALUE", output)

    async def follow(client: AsyncClient) -> None:
        async for event in client.election(name).observe():
            _show(event, output)

    run_with_client(context, cluster, _as_long_as_it_runs(context, cluster, follow))


@app.command(rich_help_panel=STORE, epilog="Example: launcher.py watch jobs/ --prefix")
def watch(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A key, or a prefix of keys.")],
    prefix: Annotated[bool, typer.Option("--prefix", help="All keys with this prefix.")] = False,
    revision: Annotated[
        int, typer.Option(metavar="N", min=0, help="From this revision on; 0 is from now on.")
    ] = 0,
    output: options.Lines = options.LineFormat.LINE,
    cluster: options.Cluster = None,
) -> None:
    """Changes of a key, one line for each event: the revision, put or deleted, the key and the value.

    If events are forgotten before they were shown, the difference is shown instead.
    """

    _title(context, "REVISION EVENT KEY VALUE", output)

    async def follow(client: AsyncClient) -> None:
        async for event in client.watch(os.fsencode(key), prefix=prefix, start_revision=revision):
            _show(event, output)

    run_with_client(context, cluster, _as_long_as_it_runs(context, cluster, follow))


def _as_long_as_it_runs(context: typer.Context, cluster: str | None, follow: Follow) -> Follow:
    """The same, but ending with the cluster if it is a launcher's; one by endpoints may come back."""
    session = session_of(context)
    if session.is_remote(cluster):
        return follow
    record = session.run_directory(cluster).record
    return lambda client: while_there(record, follow(client))


async def while_there(record: Path, following: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, or until the file is gone."""
    import asyncio

    task = asyncio.create_task(following)
    try:
        while record.exists():
            done, _ = await asyncio.wait({task}, timeout=LOOK_SECONDS)
            if done:
                return task.result()
    finally:
        task.cancel()


def _title(context: typer.Context, titles: str, output: options.LineFormat) -> None:
    if output is options.LineFormat.LINE:
        note(context, titles, "dim")


def _show(event: Event, output: options.LineFormat) -> None:
    if output is options.LineFormat.JSONL:
        out_json(**event_fields(event))
    else:
        out(options.for_terminal(_line(event)))


def _line(event: Event) -> str:
    from raft.machines.results import Item, Led, Removed

    if isinstance(event, Item):
        return f"{event.revision} put {os.fsdecode(event.key)} {os.fsdecode(event.value)}"
    if isinstance(event, Removed):
        return f"{event.revision} deleted {os.fsdecode(event.key)}"
    if isinstance(event, Led):
        return f"{event.revision} led {event.token} {os.fsdecode(event.value)}".rstrip()
    return f"{event.revision} left {event.token}"


def not_ignored(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """The signals that the parent process has not set to be ignored, as nohup does."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def run_with_client(
    context: typer.Context, cluster: str | None, follow: Callable[[AsyncClient], Awaitable[Result]]
) -> Result:
    """Run a coroutine with a client in an event loop; returns its result, or ends the verb."""
    session = session_of(context)
    if session.at_prompt:
        raise BadUsage("type this verb in a terminal of its own: it runs until it is ended")
    target = session.target(cluster)
    import asyncio  # Here, since few verbs need it, and all load this module.

    from raft.client import AsyncClient, errors

    ended_by: list[int] = []

    async def whole() -> Result:
        # However it ends, leases and locks are released first.
        task = asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            ended_by.append(number)
            task.cancel()

        for number in not_ignored(ENDING):
            asyncio.get_running_loop().add_signal_handler(number, end, number)
        at = target.endpoints
        async with AsyncClient(at, cluster=target.cluster, keys=target.keys) as client:
            return await follow(client)

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError:
        raise typer.Exit(128 + ended_by[0]) from None
    except errors.ClientError as error:
        raise verb_failed(error) from error
