"""A shell of its own for each test: private run directory, real launcher processes, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tests.processes.terminal import Terminal
from tests.processes.verbs import verb_host

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = [sys.executable, str(ROOT / "launcher.py")]
SECONDS_MAX = 90.0
LOOK_AGAIN_SECONDS = 0.003
LOOK_AGAIN = threading.Event()  # Never set.


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        LOOK_AGAIN.wait(LOOK_AGAIN_SECONDS)


def has_process(pid: int) -> bool:
    """Is the process alive, and not a zombie that another process has to reap?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class Shell:
    """`with Shell() as shell:` - what is still running at the end is killed."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rs-", dir="/tmp"))
        self.runtime = self.home / "run"
        self.temporary = self.home / "tmp"
        self.runtime.mkdir(mode=0o700)
        self.temporary.mkdir()
        self.env = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_STATE_HOME": str(self.home / "state"),
            "TMPDIR": str(self.temporary),
            "TERM": "dumb",
            "COLUMNS": "200",
        }
        self._ups: list[subprocess.Popen[str]] = []
        self._terminals: list[Terminal] = []

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for up in self._ups:
            if up.poll() is None:
                up.kill()
            up.communicate()
        for terminal in self._terminals:
            terminal.close()
        for record in self.runtime.glob("*/*/cluster.json"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, line: str) -> Done:
        """One verb, as typed."""
        answer = verb_host().run(line.split(), self.env, self.home)
        assert "Traceback" not in answer.err, answer.err
        assert "\x1b" not in answer.out + answer.err, "no colours in a pipe"
        return Done(answer.code, answer.out, answer.err)

    def run_in_new_interpreter(self, line: str) -> Done:
        """One verb just as a person's: slow, for it has to import what it needs."""
        done = subprocess.run(
            [*LAUNCHER, *shlex.split(line)],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, line: str) -> str:
        """One verb that has to go well; what it printed."""
        done = self.run(line)
        assert done.code == 0, f"{line}: exit {done.code}: {done.err}"
        return done.out.strip()

    def up(self, line: str) -> subprocess.Popen[str]:
        """A launcher in the foreground of its own, with a leader standing."""
        up = subprocess.Popen(
            [*LAUNCHER, *line.split()],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._ups.append(up)
        name = line.split("--name ")[1].split()[0] if "--name" in line else "default"
        self.ok(f"leader --wait 60s --cluster {name}")
        until(lambda: self.status(name)["alive"] == len(self.status(name)["nodes"]))
        return up

    def adopt(self, process: subprocess.Popen[str]) -> None:
        """Kill it at the end, if it still runs."""
        self._ups.append(process)

    def terminal(self, line: str) -> Terminal:
        """A launcher with a person before it."""
        return self.at_terminal(line)

    def at_terminal(self, line: str) -> Terminal:
        """A verb that is typed by a person."""
        env = {**self.env, "TERM": "xterm-256color"}
        self._terminals.append(Terminal([*LAUNCHER, *line.split()], env, self.home))
        return self._terminals[-1]

    def bash(self, line: str) -> Terminal:
        """An interactive shell with job control, in which a line was typed."""
        env = {**self.env, "TERM": "dumb", "PS1": "$ "}
        self._terminals.append(Terminal(["/bin/bash", "--norc", "-i"], env, self.home))
        self._terminals[-1].type(line + "\n")
        return self._terminals[-1]

    def status(self, name: str = "default") -> Any:
        """The status as a program reads it."""
        return json.loads(self.ok(f"status -o json --cluster {name}"))

    def events(self) -> list[Any]:
        """All events so far."""
        return [json.loads(line) for line in self.ok("events -o jsonl").splitlines()]

    def record(self, name: str = "default") -> Any:
        """What the cluster has written about itself."""
        return json.loads((self.run_directory(name) / "cluster.json").read_text())

    def run_directory(self, name: str = "default") -> Path:
        """Where the cluster's sockets are."""
        return self.runtime / f"raft-actors-{os.getuid()}" / name


def finish(up: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> Done:
    """End a launcher as Ctrl-C does; what it had printed."""
    up.send_signal(number)
    out, err = up.communicate(timeout=SECONDS_MAX)
    return Done(up.returncode, out, err)
