"""`python -m tests.tla TRACE`: have etcd/raft's TLA+ trace specification judge a trace of this project.

Owns the command line of TLC, the model checker of TLA+, and what its exit code means. The specification
and the tools belong to their authors: this command is pointed at them. A trace is what a node writes that was
started with `--trace FILE`. Exit codes: 0 accepted, 1 rejected, 2 the check could not be made.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ACCEPTED, REJECTED, NOT_CHECKED = 0, 1, 2
MODULE, CONFIGURATION = "Traceetcdraft.tla", "Traceetcdraft.cfg"
# TLC's exit codes for an assumption, a deadlock, a safety or a liveness property, or an assertion that does
# not hold: the run was carried out, and the trace is not a behaviour of the specification.
VIOLATIONS = range(10, 15)


class CannotCheck(Exception):
    """Something that the check needs is missing; the text says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Check one trace; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tla", description=__doc__.split("\n\n")[0])
    parser.add_argument("trace", metavar="TRACE", type=Path, help="a file written by raft.node --trace")
    parser.add_argument(
        "--tools", type=Path, required=True, metavar="JAR", help="tla2tools.jar of the TLA+ project"
    )
    parser.add_argument(
        "--modules",
        type=Path,
        required=True,
        metavar="JAR",
        help="CommunityModules-deps.jar of the TLA+ project",
    )
    parser.add_argument(
        "--specification", type=Path, required=True, metavar="DIR", help="the folder tla of etcd-io/raft"
    )
    asked = parser.parse_args(arguments)
    try:
        return check(asked.trace, asked.tools, asked.modules, asked.specification)
    except CannotCheck as error:
        print(f"cannot check {asked.trace}: {error}", file=sys.stderr)
        return NOT_CHECKED


def check(trace: Path, tools: Path, modules: Path, specification: Path) -> int:
    """Run TLC, whose output goes where ours goes; the exit code. Raises CannotCheck."""
    java = shutil.which("java")
    if java is None:
        raise CannotCheck("there is no java on PATH: install a Java runtime, version 11 or later")
    for jar, option in ((tools, "--tools"), (modules, "--modules")):
        if not jar.is_file():
            raise CannotCheck(f"there is no file {jar}: download {_NAMES[option]} and name it with {option}")
    for name in (MODULE, CONFIGURATION):
        if not (specification / name).is_file():
            raise CannotCheck(
                f"{specification} has no {name}: clone github.com/etcd-io/raft and name its folder tla with "
                "--specification"
            )
    lines = sorted_lines(trace)
    with tempfile.TemporaryDirectory(prefix="trace-check-") as folder:
        ordered = Path(folder) / "trace.ndjson"
        ordered.write_bytes(b"".join(lines))
        command = [
            java, "-XX:+UseParallelGC", "-cp", f"{tools.resolve()}{os.pathsep}{modules.resolve()}",
            "tlc2.TLC", "-config", CONFIGURATION, MODULE, "-lncheck", "final", "-metadir", f"{folder}/states",
        ]  # fmt: skip
        # TLC looks for the modules that a specification extends in its own working directory.
        done = subprocess.run(
            command, cwd=specification, env={**os.environ, "JSON": str(ordered)}, check=False
        )
    return verdict(trace, len(lines), done.returncode)


def sorted_lines(trace: Path) -> list[bytes]:
    """The lines of a trace in the order of their `ts`, each with its newline. Raises CannotCheck."""
    try:
        lines = trace.read_bytes().splitlines()
    except OSError as error:
        raise CannotCheck(f"{error.strerror}: name a file that raft.node --trace has written") from error
    stamped = []
    for number, line in enumerate(lines, 1):
        try:
            stamped.append((str(json.loads(line)["ts"]), line + b"\n"))
        except (ValueError, TypeError, KeyError):
            raise CannotCheck(
                f"line {number} is no JSON object with a ts: it is no trace, or was cut short"
            ) from None
    if not stamped:
        raise CannotCheck("it has no lines: start the nodes with --trace and let them run for a while")
    return [line for _, line in sorted(stamped, key=lambda pair: pair[0])]


def verdict(trace: Path, events: int, code: int) -> int:
    """Say what TLC's exit code means; the exit code of this command. Raises CannotCheck."""
    if code == 0:
        print(f"{trace}: {events} events, all accepted by the specification")
        return ACCEPTED
    if code in VIOLATIONS:
        print(f"{trace}: rejected by the specification; the last state printed above is where it stopped")
        return REJECTED
    raise CannotCheck(f"TLC ended with exit code {code}; what it printed above says why")


_NAMES = {
    "--tools": "tla2tools.jar from github.com/tlaplus/tlaplus",
    "--modules": "CommunityModules-deps.jar from github.com/tlaplus/CommunityModules",
}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
