"""Hosts on which a page's commands run: namespaces with a file tree of their own, and stand-ins for tools.

A command is run as it is written, except that `/etc/` and `/var/lib/` are directories of that host. `scp`
copies between the hosts' trees, `sudo` changes no user, `pip` and `useradd` do nothing, and `systemctl`
carries a unit out as far as these pages need it: its environment file, ExecStart, readiness, reload and stop.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from raft.cluster.namespaces import NamespaceHosts
from tests.processes.clusters import PATIENCE_SECONDS, ROOT

SYSTEMCTL = Path(__file__).with_name("systemctl.py")
_OF_A_HOST = re.compile(r"(?<![\w/.])/(?=etc/|var/lib/)")
_NAMES = ("h1", "h2", "h3", "h4", "admin")

_TOOLS = {
    "raft-actors": f'exec {sys.executable} {ROOT}/launcher.py "$@"',
    "python3": f'exec {sys.executable} "$@"',
    "pip": "exit 0",
    "useradd": "exit 0",
    "chown": "exit 0",
    "systemctl": f'exec {sys.executable} {SYSTEMCTL} "$@"',
    "sudo": '[ "$1" = -u ] && shift 2\nexec "$@"',
    # Without a user of that name.
    "install": 'a=(); while [ $# -gt 0 ]; do case "$1" in -o|-g) shift 2;; *) a+=("$1"); shift;; esac; done\n'
    'exec /usr/bin/install "${a[@]}"',
    "scp": 'to="${@: -1}"; host="${to%%:*}"; host="${host#root@}"; path="${to#*:}"\n'
    'exec cp "${@:1:$#-1}" "$TREES/$host/${path#$TREES/$HOST/}"',
}


class Hosts:
    """Four hosts and the operator's own, which know each other by name."""

    def __init__(self, namespaces: NamespaceHosts, directory: Path) -> None:
        self.directory = directory
        self._namespaces = namespaces
        self._numbers = {name: number for number, name in enumerate(_NAMES, 1)}
        tools = directory / "tools"
        tools.mkdir()
        for name, text in _TOOLS.items():
            (tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (tools / name).chmod(0o755)
        addresses = {name: namespaces.add(number) for name, number in self._numbers.items()}
        known = "127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in addresses.items())
        for name, number in self._numbers.items():
            for part in ("etc/systemd/system", "etc/raft", "var/lib", "home", "run"):
                (self.tree(name) / part).mkdir(parents=True, mode=0o700)
            names = Path("/etc/netns") / namespaces.name(number)
            names.mkdir(parents=True, exist_ok=True)
            (names / "hosts").write_text(known)

    def tree(self, host: str) -> Path:
        return self.directory / host

    def run(self, host: str, command: str, typed: str = "") -> tuple[int, str]:
        """The exit code and everything printed, as if it had been typed on that host."""
        tree = self.tree(host)
        text = _OF_A_HOST.sub(f"{tree}/", command)
        environment = {
            **os.environ,
            "PATH": f"{self.directory}/tools:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(tree / "home"),
            "XDG_RUNTIME_DIR": str(tree / "run"),
            "HOST": host,
            "TREES": str(self.directory),
            "NO_COLOR": "1",
        }
        words = self._namespaces.on_host(self._numbers[host], ["bash", "-c", text])
        with tempfile.TemporaryFile("w+") as printed:
            if typed:
                # A command that asks does so on a terminal only.
                words = ["script", "--quiet", "--return", "--command", shlex.join(words), "/dev/null"]
            done = subprocess.run(
                words,
                cwd=tree / "home",
                env=environment,
                input=typed,
                text=True,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=4 * PATIENCE_SECONDS,
            )
            printed.seek(0)
            return done.returncode, printed.read().replace(f"{tree}/", "/").replace("\r", "")

    def lose(self, host: str) -> None:
        """Cut the host off, and end everything on it, for good."""
        self._namespaces.pull_cable(self._numbers[host])
        self.end(host)

    def end(self, host: str) -> None:
        """Kill the processes that `systemctl` has started."""
        for note in self.tree(host).glob("run/*.pid"):
            with suppress(ProcessLookupError):
                os.killpg(int(note.read_text()), signal.SIGKILL)

    def close(self) -> None:
        for host in _NAMES:
            self.end(host)
