"""`python -m tests.mutation [NAME...]`: run the tests against one mutant of the core after the other.

Owns the copies, the subprocesses and the verdicts. The exit code is 0 if every survivor is explained.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutation.mutations import Mutation, StaleMutation, explained_survivors, mutations

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/core/test_transcripts.py", "tests/core")  # The quickest judges first.
TEST_TIMEOUT_SECONDS = 30
RUN_TIMEOUT_SECONDS = 600
PASSED, FAILED = 0, 1


def main(names: Sequence[str]) -> int:
    """Judge the named mutants, or all of them."""
    chosen = [mutation for mutation in mutations() if not names or mutation.name in names]
    started = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        verdicts = dict(zip((each.name for each in chosen), workers.map(judged, chosen), strict=True))
    explained = explained_survivors()
    survivors = [name for name, verdict in verdicts.items() if verdict == "survived"]
    unexplained = [name for name in survivors if name not in explained]
    odd = [name for name, verdict in verdicts.items() if verdict not in ("killed", "survived")]
    killed = len(verdicts) - len(survivors) - len(odd)
    print(f"{killed} killed, {len(survivors)} survived, {len(odd)} not judged, ", end="")
    print(f"{len(unexplained)} unexplained, in {time.monotonic() - started:.0f} s")
    return 1 if unexplained or odd else 0


def judged(mutation: Mutation) -> str:
    """The verdict on one mutant, printed as soon as it is known."""
    verdict = judge(mutation)
    print(f"{verdict:9} {mutation.name}", flush=True)
    return verdict


def judge(mutation: Mutation) -> str:
    """`killed`, `survived`, or why there is no verdict."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns("__pycache__")
        for part in ("raft", "tests/core", "tests/transcripts"):
            shutil.copytree(ROOT / part, copy / part, ignore=ignored)
        (copy / "tests" / "__init__.py").touch()
        try:
            mutation.apply(copy / "raft" / "core")
        except StaleMutation as stale:
            return f"stale ({stale})"
        return run_tests(copy)


def run_tests(copy: Path) -> str:
    plugins = ("-p", "no:cacheprovider", "-p", "no:xdist")
    options = ("-x", "-q", f"--timeout={TEST_TIMEOUT_SECONDS}", f"--rootdir={copy}", "-c", os.devnull)
    command = (sys.executable, "-m", "pytest", *plugins, *options, *TESTS)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"undecided (more than {RUN_TIMEOUT_SECONDS} s)"
    if done.returncode == FAILED:
        return "killed"
    if done.returncode == PASSED:
        return "survived"
    # A mutant that can't even be imported proves nothing about the tests.
    return f"broken ({done.stdout.strip().splitlines()[-1:]})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
