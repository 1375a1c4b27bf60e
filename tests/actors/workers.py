"""What runs in the processes of test_pool and test_flow."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec

from actors import Actor, GroupChanged, NameChanged, Request, answers, handles


class Done(msgspec.Struct, frozen=True):
    number: int
    pid: int


class Job(Request[Done], frozen=True):
    number: int
    fatal_unless: str = ""
    """A file: the worker is killed by the job as long as it is not there."""


class Where(Request[str], frozen=True):
    """Ask a worker what it knows of the directory."""


class Text(msgspec.Struct, frozen=True):
    text: str


TAGS = {1: Done, 2: Job, 3: Where, 4: Text, 5: str}


class Worker(Actor):
    @answers(Job)
    def do(self, job: Job) -> Done:
        if job.fatal_unless and not Path(job.fatal_unless).exists():
            Path(job.fatal_unless).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Done(job.number, os.getpid())


class Member(Actor):
    """Registers itself, and knows of its group what it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[str, object] = {}

    def on_start(self) -> None:
        directory = self.context.directory
        for pending in (directory.register(self.name), directory.monitor_group("friends")):
            pending.then(lambda _: None, lambda failure: print(failure))

    @handles(NameChanged)
    def on_name(self, changed: NameChanged) -> None:
        self.known[changed.name] = changed.holder

    @handles(GroupChanged)
    def on_group(self, changed: GroupChanged) -> None:
        self.known[changed.group] = " ".join(map(str, changed.members))

    @answers(Where)
    def tell(self, where: Where) -> str:
        return str(self.known.get("friends"))


def double(text: Text) -> Text:
    return Text(text.text * 2)


async def shout(text: Text) -> str:
    return text.text.upper() + str(os.getpid() and "")


def fail(text: str) -> Text:
    raise ValueError(f"no taste for {text}")
