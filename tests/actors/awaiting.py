"""What runs in the processes of test_asyncio_processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from actors import Actor, Address, Request, answers, handles


class Loop(Request[str], frozen=True):
    """Which loop the actor runs in, and whether it is inside a task."""


class Relay(Request[str], frozen=True):
    to: Address


class Linger(msgspec.Struct, frozen=True):
    """Await for ever."""

    swallow: bool


TAGS = {1: Loop, 2: Relay, 3: Linger, 4: str}


class Awaiting(Actor):
    """Awaits whatever it is asked for."""

    def __init__(self, goodbye: str = "") -> None:
        self.goodbye = goodbye

    @answers(Loop)
    async def loop(self, loop: Loop) -> str:
        async with asyncio.timeout(5.0):
            await asyncio.sleep(0.001)
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    @answers(Relay)
    async def relay(self, relay: Relay) -> str:
        return "via " + await self.context.ask(relay.to, Loop(), 5.0)

    @handles(Linger)
    async def linger(self, linger: Linger) -> None:
        while True:
            try:
                await asyncio.sleep(60.0)
            except asyncio.CancelledError:
                if not linger.swallow:
                    await asyncio.sleep(0.01)
                    Path(self.goodbye).write_text("cleaned up")
                    raise
