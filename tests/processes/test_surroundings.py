"""A launcher whatever its terminal, its parent and its disk do to it."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.shell import LAUNCHER, SECONDS_MAX, Shell, finish, has_process, until

pytestmark = pytest.mark.processes


@pytest.fixture
def shell() -> Iterator[Shell]:
    with Shell() as shell:
        yield shell


def started(shell: Shell, command: str) -> subprocess.Popen[str]:
    """A shell's command line, in which LAUNCHER is the launcher; a leader stands on return."""
    launcher = " ".join(LAUNCHER)
    up = subprocess.Popen(
        ["/bin/bash", "-c", command.replace("LAUNCHER", launcher)],
        env=shell.env,
        cwd=shell.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    shell.adopt(up)
    shell.ok("leader --wait 60s")
    return up


def test_a_cluster_outlives_the_reader_of_its_output(shell: Shell) -> None:
    up = started(shell, "LAUNCHER --nodes 3 2>err | head -1; true")
    until(lambda: shell.status()["alive"] == 3)
    before = shell.status()["nodes"][0]
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: shell.status()["nodes"][0]["restarts"] == 1 and shell.status()["alive"] == 3)
    shell.ok("down")
    out, _ = up.communicate(timeout=SECONDS_MAX)
    assert len(out.splitlines()) == 1
    assert "lines omitted" in (shell.home / "err").read_text()


def test_a_cluster_whose_output_is_not_read_continues(shell: Shell) -> None:
    os.mkfifo(shell.home / "pipe")
    reader = os.open(shell.home / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    started(shell, "exec LAUNCHER --nodes 3 --logs >pipe 2>err")
    for _ in range(3):
        shell.ok("put key value")
        shell.ok("transfer")
    shell.ok("down")
    os.close(reader)


def test_a_full_disk_under_the_output_ends_the_printing_only(shell: Shell) -> None:
    up = started(shell, "exec LAUNCHER --nodes 3 >/dev/full")
    shell.ok("put key value")
    done = finish(up)
    assert done.code == 0
    assert "lines omitted" in done.err
    assert "Traceback" not in done.err


def verb_with_output(shell: Shell, line: str, output: int) -> tuple[int, str]:
    """The exit code and what was said of a verb whose output goes to this descriptor."""
    done = subprocess.run(
        [*LAUNCHER, *shlex.split(line)],
        env=shell.env,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS_MAX,
    )
    return done.returncode, done.stderr


def test_a_verb_says_that_its_output_could_not_be_written_and_is_silent_if_its_reader_has_gone(
    shell: Shell,
) -> None:
    shell.up("--nodes 1")
    shell.ok("put key value")
    full = os.open("/dev/full", os.O_WRONLY)
    reader, unread = os.pipe()
    os.close(reader)
    said = "error: standard output cannot be written: No space left on device\n"
    for line in ("status", "get key", "txn --then 'get key'", "get --help"):
        assert verb_with_output(shell, line, full) == (1, said), line
    for line in ("status", "get key", "--help", "get --help", "--version", "keys"):
        assert verb_with_output(shell, line, unread) == (128 + signal.SIGPIPE, ""), line
    shell.env["NO_COLOR"] = "1"  # Help is then written by another path.
    for line in ("--help", "get --help"):
        assert verb_with_output(shell, line, unread) == (128 + signal.SIGPIPE, ""), line
    os.close(full)
    os.close(unread)


@pytest.mark.parametrize("colours", [{}, {"NO_COLOR": "1"}], ids=["coloured", "plain"])
def test_a_usage_error_that_nothing_reads_keeps_its_exit_code(shell: Shell, colours: dict[str, str]) -> None:
    reader, unread = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*LAUNCHER, "put"], env=shell.env | colours, stdout=unread, stderr=unread, timeout=SECONDS_MAX
    )
    os.close(unread)
    assert done.returncode == 2


def test_a_value_from_a_closed_standard_input_is_a_usage_error_and_stores_nothing(shell: Shell) -> None:
    shell.up("--nodes 1")
    done = subprocess.run(
        ["/bin/bash", "-c", f"exec {' '.join(LAUNCHER)} put key - <&-"],
        env=shell.env,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard input is closed")
    assert shell.run("get key").code == 7


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_two_signals_at_once_are_one_wish(shell: Shell, second: signal.Signals) -> None:
    up = started(shell, "exec LAUNCHER --nodes 3")
    up.send_signal(signal.SIGINT)
    done = finish(up, second)
    assert done.code == 0
    assert "safety violations" in done.out


def test_a_signal_that_the_parent_ignores_stays_ignored(shell: Shell) -> None:
    up = started(shell, "exec nohup LAUNCHER --nodes 1")
    up.send_signal(signal.SIGHUP)
    shell.ok("put key value")
    assert finish(up).code == 0


def test_a_closed_terminal_ends_the_cluster_in_good_order(shell: Shell) -> None:
    terminal = shell.terminal("--nodes 3 --report report.json")
    terminal.expect("nodes up")
    pid = shell.record()["pid"]
    terminal.hang_up()
    until(lambda: not has_process(pid))
    assert '"leaders"' in (shell.home / "report.json").read_text()
    assert not shell.run_directory().exists()


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_do_no_harm(shell: Shell, redirection: str) -> None:
    up = started(shell, f"exec LAUNCHER --nodes 1 {redirection}")
    shell.ok("put key value")
    done = finish(up)
    assert (done.code, "Traceback" in done.err) == (0, False)


def test_a_sigchld_that_the_parent_ignores_hides_no_childs_end(shell: Shell) -> None:
    started(shell, "trap '' CHLD; exec LAUNCHER --nodes 3")
    until(lambda: shell.status()["alive"] == 3)
    os.kill(shell.status()["nodes"][0]["pid"], signal.SIGKILL)
    until(lambda: shell.status()["nodes"][0]["restarts"] == 1)
    assert [event["signal"] for event in shell.events() if event["event"] == "node-exited"] == ["SIGKILL"]


def test_ctrl_c_at_any_moment_of_the_start_leaves_no_traceback_and_no_process(shell: Shell) -> None:
    for milliseconds in range(20, 400, 60):
        up = subprocess.Popen(
            [*LAUNCHER, "--nodes", "1"],
            env=shell.env,
            cwd=shell.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        shell.adopt(up)
        with pytest.raises(subprocess.TimeoutExpired):
            up.wait(milliseconds / 1000)
        try:
            done = finish(up)
        except subprocess.TimeoutExpired:  # Python's own start may swallow it.
            done = finish(up)
        if re.search("KeyboardInterrupt|Fatal Python error", done.err):
            # Before the first line of ours Python has words of its own.
            assert not re.search('File "[^"]*/(raft|actors)/', done.err), done
        else:
            assert (done.code in (0, 130, -signal.SIGINT), "Traceback" in done.err) == (True, False), done
    until(lambda: not list(Path(shell.runtime).glob("*/*")))


def test_a_file_name_that_is_no_text_is_shown_escaped(shell: Shell) -> None:
    done = subprocess.run(
        [*LAUNCHER, "up", "--nodes", "1", "--data-dir", b"/dev/null/\xff"],
        env=shell.env,
        capture_output=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert b"error: /dev/null/\\xff cannot be used" in done.stderr


def test_a_full_disk_under_the_events_and_the_record_ends_no_process(shell: Shell) -> None:
    """A limit on the size of the launcher's files stands for the full disk: its writes fail."""
    # Python would keep compiled modules that are cut off at the limit.
    up = started(shell, "PYTHONDONTWRITEBYTECODE=1 exec LAUNCHER --nodes 3 --data-dir data")
    size = Path(shell.record()["events"]).stat().st_size
    limits = resource.prlimit(up.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(up.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    before = shell.record()
    os.kill(shell.status()["nodes"][0]["pid"], signal.SIGKILL)
    until(lambda: shell.status()["nodes"][0]["restarts"] == 1 and shell.status()["alive"] == 3)
    assert shell.record() == before
    resource.prlimit(up.pid, resource.RLIMIT_FSIZE, limits)
    until(lambda: shell.record() != before)
    shell.ok("transfer")
    assert "events-lost" in [event["event"] for event in shell.events()]
    assert finish(up).code == 0


def test_events_are_kept_over_restarts_of_a_durable_cluster(shell: Shell) -> None:
    for _ in range(2):
        shell.up("--nodes 1 --data-dir data")
        shell.ok("down")
    shell.up("--nodes 1 --data-dir data")
    kinds = [event["event"] for event in shell.events()]
    assert kinds.count("cluster-started") == 3
    assert kinds.count("leader-elected") == 3
    assert len(json_of(shell, "report -o json")["leaders"]) == 1


def json_of(shell: Shell, line: str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = shell.run(line).json
    return found


def test_a_run_directory_that_is_swept_away_comes_back_and_nodes_find_each_other_in_it(shell: Shell) -> None:
    shell.up("--nodes 3")
    shutil.rmtree(shell.run_directory().parent)
    until(lambda: shell.run("status").code == 0)
    for node in (1, 2, 3):
        shell.ok(f"kill {node} --restart-after 0s")
        until(lambda node=node: shell.status()["nodes"][node - 1]["restarts"] == 1)  # type: ignore[misc]
        until(lambda: shell.status()["alive"] == 3 and shell.status()["leader"])
        shell.ok("put key value")
    assert "run-directory-removed" in [event["event"] for event in shell.events()]
    shell.ok("down")
    assert not shell.run_directory().exists()


def test_clusters_of_one_name_may_follow_each_other_at_once(shell: Shell) -> None:
    for _ in range(3):
        shell.up("--nodes 1")
        shell.ok("down")
        assert list(shell.runtime.iterdir()) == []
        assert not [path for path in shell.temporary.iterdir() if path.name.startswith("raft-actors-")]


def test_what_a_launcher_and_its_fork_server_left_is_cleared_by_the_next_launcher(
    shell: Shell,
) -> None:
    up = shell.up("--nodes 1")
    data = Path(shell.record()["data_dir"])
    node = shell.status()["nodes"][0]["pid"]
    fork_server = int(Path(f"/proc/{node}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(up.pid, signal.SIGSTOP)
    os.kill(fork_server, signal.SIGKILL)
    os.kill(up.pid, signal.SIGKILL)
    up.communicate()
    assert data.exists()
    shell.up("--nodes 1 --name other")
    assert not data.exists()
    assert not shell.run_directory().exists()


@pytest.mark.parametrize(("limit", "line"), [(16, "ls"), (16, "--nodes 3"), (40, "--nodes 3")])
def test_too_few_descriptors_are_said_before_anything_is_started(limit: int, line: str, shell: Shell) -> None:
    launcher = " ".join(LAUNCHER)
    done = subprocess.run(
        ["/bin/bash", "-c", f"ulimit -n {limit}; {launcher} {line}"],
        env=shell.env,
        cwd=shell.home,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"a process may open {limit} files" in done.stderr
    assert "ulimit -n" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def verb_in(shell: Shell, line: list[str], **settings: str) -> subprocess.CompletedProcess[bytes]:
    command = [*LAUNCHER, *line]
    env = shell.env | settings
    return subprocess.run(command, env=env, cwd=shell.home, capture_output=True, timeout=SECONDS_MAX)


def test_a_name_that_is_no_text_goes_through_a_pipe_as_it_is_and_is_escaped_for_a_person(
    shell: Shell,
) -> None:
    named = os.fsdecode(b"k\xff")
    done = verb_in(shell, ["keys", "make", named, "--nodes", "1"])
    assert done.stdout.splitlines() == [b"k\xff/n1.toml", b"k\xff/client.toml"], done.stderr
    assert (
        b"error: k\\xff.x/history.jsonl cannot"
        in verb_in(shell, ["judge", f"{named}.x/history.jsonl"]).stderr
    )


def test_files_are_utf_8_whatever_the_locale_is(shell: Shell) -> None:
    (shell.home / "raft-actors.toml").write_text('output = "json"  # \N{GREEK SMALL LETTER PI}\n')
    (shell.home / "events.jsonl").write_bytes(b"")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert verb_in(shell, ["ls"], **ascii_only).stdout.startswith(b'{"v":1')
    written = verb_in(shell, ["timeline", "events.jsonl", "--to", "page.html"], **ascii_only)
    assert written.returncode == 0, written.stderr
    assert "\N{MIDDLE DOT}" in (shell.home / "page.html").read_text(encoding="utf-8")


def test_a_verb_typed_in_a_directory_that_was_removed_says_so_if_it_needs_it(shell: Shell) -> None:
    gone = shell.home / "gone"
    gone.mkdir()
    for line, code in (("ls", 0), ("up --nodes 1 --trace trace", 1), ("chaos --report run", 1)):
        command = f"cd {gone}; rmdir {gone}; {' '.join(LAUNCHER)} {line}; code=$?; mkdir {gone}; exit $code"
        done = subprocess.run(
            ["/bin/bash", "-c", command], env=shell.env, capture_output=True, text=True, timeout=SECONDS_MAX
        )
        assert done.returncode == code, done.stderr
        assert code == 0 or "the directory in which this was typed does not exist" in done.stderr


def test_a_cluster_whose_logs_were_swept_away_goes_on_logging_and_starts_its_nodes_again(
    shell: Shell,
) -> None:
    shell.up("--nodes 3")
    shutil.rmtree(shell.record()["log_dir"])
    shell.ok("kill 1")
    assert shell.ok("start 1").startswith("n1 started")
    assert {event["event"] for event in shell.events()} >= {"fault", "node-exited"}
    until(lambda: "node-started" in shell.run("logs 1").out)
    shutil.rmtree(shell.record()["data_dir"])
    shell.ok("kill 1")
    done = shell.run("start 1")
    assert done.code == 1
    assert re.fullmatch(
        r"error: n1 gave up: .*its output cannot be written to .*n1.out: No such file.*\n", done.err
    )
