"""What is served: `/metrics`, and the probes `/livez`, `/readyz` and `/health`, as pages and as an ASGI app.

Owns the paths, the status codes and what each probe means. Knows nothing of sockets, or of how nodes are
asked.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import monotonic
from typing import Any, Final, Protocol

from msgspec import Struct

from raft.client.errors import ClientError
from raft.exporter.families import exposition
from raft.protocol.admin import NodeMetrics

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
PLAIN: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
INDEX: Final = """\
/metrics  what each node counts, in Prometheus's text format
/livez    200 if a node answers
/readyz   200 if a node answers and knows of a leader
/health   200 if a linearizable read went through
"""

Answers = Mapping[int, NodeMetrics | None]
"""By node; None for one that did not answer in time."""
Message = MutableMapping[str, Any]


class Source(Protocol):
    """Where the numbers come from: one node, or several."""

    @property
    def cluster(self) -> str:
        """The name that the samples are labelled with."""
        ...

    async def ask(self) -> Answers:
        """Ask every node, with a time-out."""
        ...

    async def read(self) -> None:
        """Read linearizably; raises ClientError if that was not possible in time."""
        ...


class Page(Struct, frozen=True):
    """One answer over HTTP."""

    status: int
    content_type: str
    body: str


class Pages:
    """The pages of a source; also an ASGI app, to be mounted where a program serves HTTP already."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def get(self, path: str) -> Page:
        """The page at a path."""
        match path.rstrip("/") or "/":
            case "/metrics":
                return Page(200, TEXT, await self.metrics())
            case "/livez":
                return await self._livez()
            case "/readyz":
                return await self._readyz()
            case "/health":
                return await self._health()
            case "/":
                return Page(200, PLAIN, INDEX)
        return Page(404, PLAIN, f"there is no page {path}; there are:\n{INDEX}")

    async def metrics(self) -> str:
        """A scrape, in Prometheus's text format."""
        begun = monotonic()
        answers = await self._source.ask()
        return exposition(self._source.cluster, answers, monotonic() - begun)

    async def _livez(self) -> Page:
        answers = await self._source.ask()
        lines = [f"n{node} {'answers' if told else 'does not answer'}" for node, told in answers.items()]
        return _verdict(any(answers.values()), lines)

    async def _readyz(self) -> Page:
        answers, lines, ready = await self._source.ask(), [], False
        for node, told in answers.items():
            if told is None:
                lines.append(f"n{node} does not answer")
            elif told.status.leader:
                ready = True
                lines.append(f"n{node} follows n{told.status.leader} in term {told.status.term}")
            else:
                lines.append(f"n{node} knows of no leader")
        return _verdict(ready, lines)

    async def _health(self) -> Page:
        """As etcd answers it: a string, and a reason if it is not well."""
        try:
            await self._source.read()
        except ClientError as error:
            reason = f"{type(error).__name__}: {error}"
            return Page(503, JSON, json.dumps({"health": "false", "reason": reason}) + "\n")
        return Page(200, JSON, '{"health": "true"}\n')

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve one request, as ASGI has it; of a mounted app the path below the mount counts."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"this app serves http, not {scope['type']}")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["method"] in ("GET", "HEAD"):
            page = await self.get(path)
        else:
            page = Page(405, PLAIN, "only GET and HEAD\n")
        body = page.body.encode()
        headers = [
            (b"content-type", page.content_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": page.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _verdict(well: bool, lines: list[str]) -> Page:
    return Page(200 if well else 503, PLAIN, "\n".join(["ok" if well else "not ok", *lines]) + "\n")


async def _live(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """There is nothing to begin or to end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
