"""A stand-in for systemctl: start, stop, restart and reload of units from a template, on one host's tree.

Run as a program. Understands of a unit what `raft-actors render systemd` writes: EnvironmentFile, ExecStart
with `%i` and variables, Type=notify, SIGHUP and SIGTERM.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

READY_SECONDS_MAX = 60.0
TREE = Path(os.environ["TREES"]) / os.environ["HOST"]


def main(words: list[str]) -> int:
    options = {word for word in words if word.startswith("-")}
    verb, *units = [word for word in words if not word.startswith("-")]
    if verb == "daemon-reload":
        return 0
    for unit in units:
        template, _, instance = unit.partition("@")
        text = (TREE / "etc/systemd/system" / f"{template}@.service").read_text()
        note = TREE / "run" / f"{unit}.pid"
        if verb == "reload":
            os.kill(int(note.read_text()), signal.SIGHUP)
        if verb in ("stop", "restart"):
            stop(note)
        if verb in ("start", "enable", "restart"):
            start(text, instance, note, wait="--no-block" not in options)
    return 0


def here(text: str) -> str:
    return re.sub(r"(?<![\w/.])/(?=etc/|var/lib/)", f"{TREE}/", text)


def start(text: str, instance: str, note: Path, *, wait: bool) -> None:
    text = here(text.replace("%i", instance).replace("\\\n", " ")).replace("/usr/bin/python3", sys.executable)
    settings = dict(re.findall(r"^(EnvironmentFile|ExecStart)=(.*)$", text, re.M))
    variables = dict(
        line.split("=", 1) for line in Path(settings["EnvironmentFile"]).read_text().splitlines()
    )
    words = []
    for word in settings["ExecStart"].split():
        # ${NAME} is one word, $NAME is split: as in systemd.service(5).
        if whole := re.fullmatch(r"\$\{(\w+)\}", word):
            words.append(variables.get(whole[1], ""))
        elif parts := re.fullmatch(r"\$(\w+)", word):
            words += shlex.split(variables.get(parts[1], ""))
        else:
            words.append(word)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (TREE / "run" / "log").open("ab") as log:
        at = f"\0{note}"
        ready.bind(at)
        process = subprocess.Popen(
            words,
            env={**os.environ, "NOTIFY_SOCKET": f"@{note}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        note.write_text(str(process.pid))
        ready.settimeout(READY_SECONDS_MAX)
        while wait and b"READY=1" not in ready.recv(4096):
            pass


def is_running(pid: int) -> bool:
    """Nothing may be here that waits for it, so it may stay as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(note: Path) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int(note.read_text())
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + READY_SECONDS_MAX
        never = threading.Event()
        while is_running(pid) and time.monotonic() < until:
            never.wait(0.02)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
