"""The actor of which there is one in the cluster, in the tests of singletons: it writes down what it does."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import msgspec

from actors import Actor
from raft.client import AsyncClient, AsyncLead, ClientError, FenceRejected, OutcomeUnknown
from raft.lab.checkers.records import Record, encode_record

PAUSE_SECONDS = 0.03
MARGIN_RATIO = 0.1


class Tally(msgspec.Struct, frozen=True):
    pass


TAGS = {1: Tally}


class Alone(Actor):
    """Writes to the cluster with its token, again and again, and into a history for the judge."""

    def __init__(self, lead: AsyncLead, directory: str, nodes: dict[int, str]) -> None:
        self.lead = lead
        self.nodes = nodes
        self.path = Path(directory) / f"{os.getpid()}.jsonl"
        self.number = 0

    def on_start(self) -> None:
        now = time.monotonic()
        until = now + self.lead.remaining
        self.write("acquire", "election/actors/alone", now, {"token": self.lead.token, "until": until})
        self.context.create_task(self.work())

    def on_stop(self) -> None:
        """The seat is given up after this: with it, another may lead before `until`."""
        held = self.lead.remaining > 0
        self.write("release", "election/actors/alone", time.monotonic(), {"held": held})

    async def work(self) -> None:
        async with AsyncClient(self.nodes) as client:
            while True:
                self.number += 1
                await self.put(client, f"{self.lead.token}.{self.number}")
                await asyncio.sleep(PAUSE_SECONDS)

    async def put(self, client: AsyncClient, value: str) -> None:
        called = time.monotonic()
        outcome, result = "unknown", None
        try:
            await client.put("guarded", value, fence=self.lead.fence)
            outcome, result = "done", {"accepted": True}
        except FenceRejected:
            outcome, result = "done", {"accepted": False}
        except OutcomeUnknown:
            pass
        except ClientError:
            outcome = "refused"
        finally:
            self.write("fenced-put", "guarded", called, result, value, outcome)

    def write(
        self,
        op: str,
        key: str,
        called: float,
        result: object,
        value: str | None = None,
        outcome: str = "done",
    ) -> None:
        record = Record(
            client=f"{self.context.address.process} {os.getpid()}",
            op=op,
            key=key,
            value=value,
            expected=None if op == "acquire" else self.lead.token,
            call=called,
            returned=None if outcome == "unknown" else time.monotonic(),
            outcome=outcome,  # type: ignore[arg-type]
            result=result,
        )
        with self.path.open("ab") as file:
            file.write(encode_record(record) + b"\n")
