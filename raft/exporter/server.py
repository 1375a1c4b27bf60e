"""A small HTTP server for the pages: GET and HEAD, one request on a connection.

Owns the socket and the parsing of a request. Knows nothing of what the pages say.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from raft.exporter.pages import PLAIN, Page, Pages
from raft.exporter.scraper import Scraper

REQUEST_SECONDS_MAX = 5.0
REQUEST_BYTES_MAX = 16 * 1024


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


async def serve(at: socket.socket, pages: Pages) -> None:
    """Answer requests until the task is cancelled."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await _head_of(reader)
            method, page = await _page(head, pages)
            writer.write(_response(page, with_body=method != "HEAD"))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=at, limit=REQUEST_BYTES_MAX)
    async with server:
        await server.serve_forever()


async def _head_of(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""


async def _page(head: bytes, pages: Pages) -> tuple[str, Page]:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "GET", Page(400, PLAIN, "that is no HTTP request\n")
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        return method, Page(405, PLAIN, "only GET and HEAD\n")
    return method, await pages.get(target.partition("?")[0])


def _response(page: Page, *, with_body: bool) -> bytes:
    body = page.body.encode()
    head = (
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\n"
        f"Content-Type: {page.content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")


class ServerThread:
    """Serves from a thread of its own, beside a program that has no event loop, until it is closed."""

    def __init__(self, at: socket.socket, make_scraper: Callable[[], Scraper]) -> None:
        self._at = at
        self._make_scraper = make_scraper
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait until everything was given back."""
        with suppress(RuntimeError):  # It has ended by itself.
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._task = self._loop.create_task(run(self._at, self._make_scraper))
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
        finally:
            self._loop.close()
            self._at.close()


async def run(at: socket.socket, make_scraper: Callable[[], Scraper]) -> None:
    """Serve what a scraper tells until cancelled."""
    scraper = make_scraper()
    try:
        await serve(at, Pages(scraper))
    finally:
        scraper.close()
