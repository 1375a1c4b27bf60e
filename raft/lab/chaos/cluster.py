"""A cluster for one run: started, found, and removed at the end, however the run ends.

Owns the launcher process that it starts. Knows nothing of the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from raft.cluster import rundir
from raft.cluster.failures import Unreachable, VerbFailed

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS_MAX = 20.0
STOP_SECONDS_MAX = 15.0
_LOOK_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def hosted(
    name: str, nodes: int, data_dir: Path, options: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A launcher that ends with the block, and with this process if it is killed."""
    arguments = ["up", "--name", name, "--nodes", str(nodes), "--data-dir", str(data_dir), *options]
    prctl = ctypes.CDLL(None).prctl
    with (data_dir.parent / "launcher.err").open("wb") as complaints:
        launcher = subprocess.Popen(
            [sys.executable, str(ROOT / "launcher.py"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,  # Ctrl-C is handled by this process.
            preexec_fn=partial(prctl, _PR_SET_PDEATHSIG, signal.SIGTERM),
        )
    try:
        yield launcher
    finally:
        launcher.send_signal(signal.SIGTERM)
        try:
            launcher.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()


async def found(name: str, launcher: subprocess.Popen[bytes], complaints: Path) -> rundir.RunDirectory:
    """The cluster's run directory, once it exists. Raises VerbFailed with the launcher's last output."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS_MAX
    while loop.time() < deadline:
        with contextlib.suppress(Unreachable):
            directory = rundir.find(name)
            if directory.record.exists() and directory.launcher_socket.exists():
                return directory
        if launcher.poll() is not None:
            raise VerbFailed(f"the cluster did not start: {complaints.read_text().strip()}")
        await asyncio.sleep(_LOOK_SECONDS)
    raise VerbFailed(f"the cluster did not start within {START_SECONDS_MAX:g} s")
