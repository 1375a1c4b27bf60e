"""What goes wrong for those who hold and watch, with real nodes: each is told so in time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from raft.client import AsyncClient, Client, CommandRefused, EventsForgotten, SessionExpired
from raft.client.calls import sessions
from raft.client.calls.application import call_bytes, decode_or_raise
from raft.machines.commands import (
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    Call,
    Compact,
    Put,
    Revoke,
    WatchKeys,
)
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]

# Takes a seat, says its token, and, whenever it is told to, writes as if it still held it.
HOLDER = """
import json, sys
from raft.client import Client, ClientError
endpoints = {int(node): at for node, at in json.loads(sys.argv[1]).items()}
with Client(endpoints) as client, client.election("fenced", ttl="1s") as lead:
    print(lead.token, flush=True)
    for line in sys.stdin:
        try:
            client.put("fenced", line.strip(), fence=lead.fence)
            print("done", flush=True)
        except ClientError as error:
            print(type(error).__name__, flush=True)
"""


def test_a_holder_that_was_paused_wakes_believing_and_its_writes_are_turned_down(nodes: Nodes) -> None:
    command = [sys.executable, "-c", HOLDER, json.dumps(nodes.endpoints)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        token = int(holder.stdout.readline())
        holder.stdin.write("first\n")
        assert holder.stdout.readline() == "done\n"
        os.kill(holder.pid, signal.SIGSTOP)
        with Client(nodes.endpoints) as client, client.election("fenced", ttl="5s") as lead:
            assert lead.token > token
            client.put("fenced", "second", fence=lead.fence)
            os.kill(holder.pid, signal.SIGCONT)
            holder.stdin.write("third\n")
            assert holder.stdout.readline() == "FenceRejected\n"
            assert client.get("fenced") == b"second"
            lead.check()
        holder.kill()


def test_a_watcher_that_is_too_slow_learns_that_events_are_forgotten_and_continues(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        first = client.put("slow/a", "1")
        last = client.put("slow/a", "2")
        client.call(Compact(last))
        with pytest.raises(EventsForgotten) as forgotten:
            next(client.events(WatchKeys(first, b"slow/", b"slow0")))
        assert forgotten.value.revision == last
        client.put("slow/a", "3")
        assert next(client.events(WatchKeys(last + 1, b"slow/", b"slow0"))).value == b"3"


def test_keys_and_values_are_any_bytes_up_to_their_limits_and_no_more(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        for key in (b"", b"\x00", b"\xff" * KEY_BYTES_MAX, bytes(range(256)), "ключ"):
            value = b"\xff\x00" * (VALUE_BYTES_MAX // 2)
            client.put(key, value)
            assert client.get(key) == value
            assert client.delete(key)
        for refused in (
            lambda: client.put(b"k" * (KEY_BYTES_MAX + 1), b""),
            lambda: client.put(b"k", bytes(VALUE_BYTES_MAX + 1)),
            lambda: client.get(b"k" * (KEY_BYTES_MAX + 1)),
            lambda: client.cas(b"k", None, bytes(VALUE_BYTES_MAX + 1)),
        ):
            with pytest.raises(CommandRefused, match="at most"):
                refused()


def test_two_programs_that_write_as_one_session_are_told_so(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client, client.session("5s") as session:
            await session.put("stolen", "1")
            async with AsyncClient(nodes.endpoints) as thief:
                with pytest.raises(CommandRefused, match="two programs use the same session"):
                    body = call_bytes(Call(session.lease, 1, 0, Put(b"stolen", b"2")))
                    decode_or_raise(
                        (await thief.run_call(partial(sessions.commit_idempotent, body=body))).result
                    )
            assert await client.get("stolen") == b"1"

    asyncio.run(body())


def test_a_blocking_session_that_was_ended_by_others_is_told_so(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client, client.session("5s") as session:
        client.call(Revoke(session.lease))
        with pytest.raises(SessionExpired):
            session.put("k", "v")
        assert session.remaining_seconds == 0.0
