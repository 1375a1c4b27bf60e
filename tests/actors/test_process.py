"""The fork server and its children, with real forks and real signals."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.processes.child import ForkServer, ForkServerGone, SpawnFailed, describe_exit, process_alive

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
CHILDREN = "tests.actors.children"
WAIT_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[ForkServer]:
    started = ForkServer.start([CHILDREN, "colorsys"])
    yield started
    started.close()


def eventually(done: Callable[[], bool], timeout_seconds: float = WAIT_SECONDS) -> bool:
    """Ask again and again, without sleeping on it."""
    deadline = time.monotonic() + timeout_seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def ended(pid: int) -> int:
    """A pidfd to wait for the end of a process that is not our child."""
    return os.pidfd_open(pid)


def all_readable(fds: list[int], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    for fd in fds:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return False
    return True


def descriptors() -> int:
    gc.collect()  # What other tests have left to be collected.
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_child_has_a_session_a_log_an_argument_and_nothing_of_the_servers(
    server: ForkServer, tmp_path: Path
) -> None:
    log = tmp_path / "child.log"
    child = server.spawn(f"{CHILDREN}:describe", b"blue-ish", log_path=log, env={"COLOUR": "blue"})
    child.wait_started(WAIT_SECONDS)
    assert child.wait(WAIT_SECONDS) == 0, log.read_text()
    assert log.read_text().splitlines() == [
        "argument blue-ish",
        "env blue",
        "session True",
        "stdin b''",
        "fds True",
        "preloaded True",
        "defaults {<Handlers.SIG_DFL: 0>}",
        "blocked set()",
        "on stderr",
    ]
    assert log.stat().st_mode & 0o077 == 0


def test_children_are_asked_for_at_once_and_each_is_told_of(server: ForkServer, tmp_path: Path) -> None:
    children = [server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log") for _ in range(8)]
    assert all(child.pid is None for child in children)
    pids = {child.wait_started(WAIT_SECONDS) for child in children}
    assert len(pids) == 8
    assert all(child.poll() is None for child in children)


@pytest.mark.parametrize(
    ("target", "argument", "expected", "words"),
    [
        ("exit_with", b"0", 0, "exited with code 0"),
        ("exit_with", b"7", 7, "exited with code 7"),
        ("fail", b"", 1, "exited with code 1"),
    ],
)
def test_the_end_of_a_child_is_told_with_its_code(
    server: ForkServer, tmp_path: Path, target: str, argument: bytes, expected: int, words: str
) -> None:
    log = tmp_path / "log"
    child = server.spawn(f"{CHILDREN}:{target}", argument, log_path=log)
    child.wait_started(WAIT_SECONDS)
    code = child.wait(WAIT_SECONDS)
    assert code == expected
    assert describe_exit(code) == words
    assert ("no such luck" in log.read_text()) == (target == "fail")


def test_a_killed_child_is_known_dead_at_once_and_leaves_no_zombie(
    server: ForkServer, tmp_path: Path
) -> None:
    child = server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log")
    pid = child.wait_started(WAIT_SECONDS)
    assert child.kill()
    assert child.wait(WAIT_SECONDS) == -signal.SIGKILL
    assert describe_exit(-signal.SIGKILL) == "killed by SIGKILL"
    assert not process_alive(pid)
    assert not child.kill(), "a dead child can't be killed again"


def test_a_stopped_child_lives_and_can_be_killed(server: ForkServer, tmp_path: Path) -> None:
    child = server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log")
    child.wait_started(WAIT_SECONDS)
    child.kill(signal.SIGSTOP)
    assert child.poll() is None
    child.kill(signal.SIGKILL)
    assert child.wait(WAIT_SECONDS) == -signal.SIGKILL


def test_a_signal_to_a_child_that_is_just_born_is_not_lost(server: ForkServer, tmp_path: Path) -> None:
    for _ in range(20):
        child = server.spawn(f"{CHILDREN}:park_for_ever", b"", log_path=tmp_path / "log")
        child.wait_started(WAIT_SECONDS)
        child.kill(signal.SIGTERM)
        assert child.wait(WAIT_SECONDS) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (f"{CHILDREN}:nothing", "no function 'nothing'"),
        ("no.such.module:f", "No module named 'no'"),
        (f"{CHILDREN}", "no function ''"),
        ("tests.actors.children_broken:f", "this module is broken"),
    ],
)
def test_a_target_that_cannot_be_had_is_an_error_with_its_traceback(
    server: ForkServer, tmp_path: Path, target: str, complaint: str
) -> None:
    child = server.spawn(target, b"", log_path=tmp_path / "log")
    with pytest.raises(SpawnFailed, match=complaint) as raised:
        child.wait_started(WAIT_SECONDS)
    assert "Traceback" in str(raised.value)
    good = server.spawn(f"{CHILDREN}:exit_with", b"0", log_path=tmp_path / "log")
    good.wait_started(WAIT_SECONDS)
    assert good.wait(WAIT_SECONDS) == 0, "the server goes on"


def test_a_child_that_does_not_stop_is_killed_while_its_parent_does_nothing(
    server: ForkServer, tmp_path: Path
) -> None:
    deaf, stopped = (
        server.spawn(f"{CHILDREN}:{target}", b"", log_path=tmp_path / "log")
        for target in ("deaf", "park_for_ever")
    )
    for child in (deaf, stopped):
        child.wait_started(WAIT_SECONDS)
    assert eventually(lambda: (tmp_path / "log").read_text() == "deaf\n")
    stopped.kill(signal.SIGSTOP)
    state = Path(f"/proc/{stopped.pid}/stat")
    assert eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    for child in (deaf, stopped):
        child.stop(kill_after_seconds=0.05)
    assert all_readable([deaf.fileno(), stopped.fileno()], WAIT_SECONDS), "no answer is taken in meanwhile"
    assert [child.wait(WAIT_SECONDS) for child in (deaf, stopped)] == [-signal.SIGKILL] * 2


def test_a_child_that_stops_is_not_killed(server: ForkServer, tmp_path: Path) -> None:
    child = server.spawn(f"{CHILDREN}:park_for_ever", b"", log_path=tmp_path / "log")
    child.stop(kill_after_seconds=60.0)
    child.wait_started(WAIT_SECONDS)
    assert child.wait(WAIT_SECONDS) == -signal.SIGTERM
    child.stop(kill_after_seconds=0.0)


def test_closing_gives_back_the_descriptors_of_children_that_live(tmp_path: Path) -> None:
    before = descriptors()
    server = ForkServer.start()
    children = [server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log") for _ in range(3)]
    for child in children:
        child.wait_started(WAIT_SECONDS)
    server.close()
    assert descriptors() == before
    assert [child.poll() for child in children] == [-signal.SIGKILL] * 3


def test_a_server_that_is_never_closed_ends_when_it_is_collected(tmp_path: Path) -> None:
    before = descriptors()
    server = ForkServer.start()
    child = server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log")
    pids = [server.pid, child.wait_started(WAIT_SECONDS)]
    with pytest.warns(ResourceWarning, match="never closed"):
        del server, child
        gc.collect()
    assert descriptors() == before
    assert eventually(lambda: not process_alive(pids[1]))

    def is_reaped() -> bool:
        ForkServer.start().close()  # Whenever one is started, those that have ended are reaped.
        return not process_alive(pids[0])

    assert eventually(is_reaped), "no zombie is left"


def test_a_log_that_cannot_be_written_is_an_error(server: ForkServer, tmp_path: Path) -> None:
    child = server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "absent" / "log")
    with pytest.raises(SpawnFailed, match="No such file"):
        child.wait_started(WAIT_SECONDS)


def test_a_broken_preload_is_told_to_all_who_spawn(tmp_path: Path) -> None:
    server = ForkServer.start(["tests.actors.children_broken"])
    child = server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log")
    with pytest.raises(SpawnFailed, match="this module is broken"):
        child.wait_started(WAIT_SECONDS)
    server.close()


def test_a_server_that_was_killed_takes_its_children_along(tmp_path: Path) -> None:
    server = ForkServer.start([CHILDREN])
    children = [
        server.spawn(f"{CHILDREN}:{target}", b"", log_path=tmp_path / "log")
        for target in ("park", "park_for_ever")
    ]
    for child in children:
        child.wait_started(WAIT_SECONDS)
    os.kill(server.pid, signal.SIGKILL)
    assert [child.wait(WAIT_SECONDS) for child in children] == [-signal.SIGKILL] * 2
    with pytest.raises(ForkServerGone):
        server.spawn(f"{CHILDREN}:park", b"", log_path=tmp_path / "log")
    server.close()


def test_closing_ends_the_children_cleans_up_and_leaves_no_zombie(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "file").touch()
    (tmp_path / "kept").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    server = ForkServer.start([CHILDREN], [tmp_path / "kept"])
    (tmp_path / "parent" / "below").mkdir(parents=True)
    (tmp_path / "shared" / "another's").mkdir(parents=True)
    server.set_cleanup(
        [tmp_path / "directory", tmp_path / "link", tmp_path / "never-was", tmp_path / "parent" / "below"],
        if_empty=[tmp_path / "parent", tmp_path / "shared"],
    )
    child = server.spawn(f"{CHILDREN}:park_for_ever", b"", log_path=tmp_path / "log")
    pid = child.wait_started(WAIT_SECONDS)
    server.close()
    server.close()
    assert not process_alive(pid)
    assert not process_alive(server.pid)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "log", "shared"]
    assert (tmp_path / "shared" / "another's").exists()


def test_nothing_is_left_when_the_launcher_is_killed(tmp_path: Path) -> None:
    (tmp_path / "socket").touch()
    (tmp_path / "directory").mkdir()
    launcher = subprocess.Popen(
        [sys.executable, "-m", "tests.actors.a_launcher", tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with launcher:
        assert launcher.stdout is not None
        pids = [int(word) for word in launcher.stdout.readline().split()]
        assert len(pids) == 5
        bred = tmp_path / "3.log"
        assert eventually(lambda: bred.exists() and bred.read_text().endswith("\n"))
        ends = [ended(pid) for pid in [*pids, int(bred.read_text())]]
        launcher.kill()
        assert all_readable(ends, 1.0), "the server, every child and grandchild, the stopped one too"
        for fd in ends:
            os.close(fd)
    assert eventually(
        lambda: not (tmp_path / "socket").exists() and not (tmp_path / "directory").exists(), 1.0
    )


def test_a_process_that_the_launcher_has_forked_does_not_keep_the_server_alive() -> None:
    code = (
        "import os, signal; from actors.processes.child import ForkServer; server = ForkServer.start()\n"
        "print(server.pid, flush=True)\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "signal.pause()"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with launcher:
        assert launcher.stdout is not None
        server, forked = (int(launcher.stdout.readline()) for _ in range(2))
        end = ended(server)
        launcher.kill()
        try:
            assert all_readable([end], WAIT_SECONDS)
        finally:
            os.close(end)
            os.kill(forked, signal.SIGKILL)


def test_a_terminal_s_ctrl_c_and_a_sigterm_to_the_group_do_not_reach_the_server(
    server: ForkServer, tmp_path: Path
) -> None:
    assert os.getpgid(server.pid) != os.getpgid(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(server.pid, number)
    child = server.spawn(f"{CHILDREN}:exit_with", b"3", log_path=tmp_path / "log")
    child.wait_started(WAIT_SECONDS)
    assert child.wait(WAIT_SECONDS) == 3


def test_importing_process_loads_nothing_heavy() -> None:
    heavy = {"msgspec", "zmq", "typing", "pathlib", "asyncio"}
    code = f"import sys, actors.processes.child; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""
