"""Run directories and data directories: claimed, found, refused, left clean."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft.cli.entry import run
from raft.cluster import rundir
from raft.cluster.datadir import clear_abandoned, open_data
from raft.cluster.failures import BadUsage, ExitCode, Unreachable, VerbFailed
from raft.cluster.spec import NODES_MAX, ClusterRecord, ClusterSpec


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    short = Path(os.environ.get("TMPDIR", "/tmp")) / f"rt-{os.getpid()}"
    short.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    yield short
    shutil.rmtree(short)


def test_a_claimed_directory_is_private_and_found_without_its_name(runtime: Path) -> None:
    directory, lock = rundir.claim("alpha", 5)
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert directory.path.parent.stat().st_mode & 0o777 == 0o700
    assert rundir.find(None).path == directory.path
    lock.release()


def test_data_in_a_directory_that_others_may_change_is_refused_and_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    spec = ClusterSpec(name="alpha", nodes=1, data_dir=str(data))
    with pytest.raises(VerbFailed, match=r"every user may write to it \(mode 777\): make it private"):
        open_data(spec)
    data.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: data.stat().st_uid + 1)
    with pytest.raises(VerbFailed, match="it belongs to user"):
        open_data(spec)
    assert not any(data.iterdir())


def test_a_name_is_claimed_once_at_a_time() -> None:
    directory, lock = rundir.claim("alpha", 5)
    with pytest.raises(VerbFailed, match="running already") as refusal:
        rundir.claim("alpha", 5)
    assert refusal.value.exit_code is ExitCode.FAILURE
    lock.remove()
    assert not directory.path.exists()
    rundir.claim("alpha", 5)[1].release()


def test_an_unlocked_run_directory_is_no_cluster() -> None:
    rundir.claim("alpha", 5)[1].release()
    with pytest.raises(Unreachable) as refusal:
        rundir.find(None)
    assert refusal.value.exit_code is ExitCode.UNREACHABLE
    with pytest.raises(Unreachable, match="'alpha'"):
        rundir.find("alpha")


def test_with_several_clusters_one_has_to_be_chosen() -> None:
    locks = [rundir.claim(name, 1)[1] for name in ("alpha", "beta")]
    with pytest.raises(BadUsage, match="alpha, beta"):
        rundir.find(None)
    assert rundir.find("beta").name == "beta"
    for lock in locks:
        lock.release()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a b", "ü", "x" * 65])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BadUsage):
        rundir.claim(name, 1)


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(BadUsage, match="too long for a socket"):
        rundir.claim("alpha", 5)
    assert list(deep.iterdir()) == []


def test_a_file_where_the_run_directory_should_be_is_a_clear_error(runtime: Path) -> None:
    rundir.run_base().write_text("")
    with pytest.raises(VerbFailed, match=r"cannot be used|belongs"):
        rundir.claim("alpha", 1)


def test_durable_data_remembers_its_cluster_and_throw_away_data_is_thrown_away(tmp_path: Path) -> None:
    spec = ClusterSpec(data_dir=str(tmp_path / "data"))
    first = open_data(spec)
    first.close()
    second = open_data(spec)
    assert second.cluster == first.cluster
    second.close()
    passing = open_data(ClusterSpec())
    passing.close()
    assert not passing.path.exists()
    kept = open_data(ClusterSpec(keep=True))
    kept.close()
    assert kept.path.exists()
    for path in sorted(kept.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    kept.path.rmdir()


def snapshot(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_data_of_another_shape_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    open_data(ClusterSpec(data_dir=str(tmp_path / "data"), nodes=5)).close()
    before = snapshot(tmp_path)
    with pytest.raises(BadUsage, match="--nodes 5"):
        open_data(ClusterSpec(data_dir=str(tmp_path / "data"), nodes=3))
    assert snapshot(tmp_path) == before
    open_data(ClusterSpec(data_dir=str(tmp_path / "data"), nodes=5)).close()


def test_data_in_use_is_refused(tmp_path: Path) -> None:
    spec = ClusterSpec(data_dir=str(tmp_path / "data"))
    held = open_data(spec)
    with pytest.raises(VerbFailed, match="in use"):
        open_data(spec)
    held.close()


def test_a_directory_with_something_else_in_it_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(BadUsage, match="something other"):
        open_data(ClusterSpec(data_dir=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (ClusterSpec(nodes=0), "--nodes 0"),
        (ClusterSpec(nodes=NODES_MAX + 1), f"--nodes {NODES_MAX + 1}"),
        (ClusterSpec(heartbeat_seconds=0.2), "--election-timeout 250ms-500ms"),
        (ClusterSpec(lease_reads=True, check_quorum=False), "--lease-reads"),
        (ClusterSpec(machine="nonsense"), "--machine"),
    ],
)
def test_a_shape_that_cannot_work_is_refused_by_the_name_of_its_option(spec: ClusterSpec, named: str) -> None:
    with pytest.raises(BadUsage, match=named):
        spec.check()


def test_the_members_of_now_come_back_and_an_id_is_given_once_in_all_incarnations(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    data = open_data(ClusterSpec(data_dir=path, nodes=3))
    assert data.members == [1, 2, 3]
    assert not any(data.joins(node) for node in data.members)
    assert data.reserve_id() == 4
    data.change_members([1, 2, 3, 4])
    assert data.joins(4)
    assert data.reserve_id() == 5
    data.change_members([2, 3, 4, 5])
    data.change_members([2, 3, 4])
    data.close()
    with pytest.raises(BadUsage, match="that of 3 nodes, not 4"):
        open_data(ClusterSpec(data_dir=path, nodes=4))
    again = open_data(ClusterSpec(data_dir=path, nodes=3))
    assert again.members == [2, 3, 4]
    assert again.reserve_id() == 6
    # A node that has lost its data must not found the cluster a second time.
    assert again.joins(2)
    again.close()


def test_a_launcher_that_ends_leaves_its_successors_run_directory_alone(runtime: Path) -> None:
    directory, ending = rundir.claim("alpha", 1)
    shutil.rmtree(directory.path)
    _, successor = rundir.claim("alpha", 1)
    ending.remove()
    assert rundir.find("alpha").path.exists()
    successor.remove()
    assert list(runtime.iterdir()) == []


def test_a_run_directory_that_was_swept_away_is_made_and_locked_again() -> None:
    directory, lock = rundir.claim("alpha", 1)
    assert lock.is_in_place
    shutil.rmtree(rundir.run_base())
    assert not lock.is_in_place
    lock.restore()
    assert lock.is_in_place
    assert rundir.find("alpha").path == directory.path
    lock.remove()


def test_a_run_directory_that_another_launcher_has_made_meanwhile_is_not_taken_back() -> None:
    directory, lock = rundir.claim("alpha", 1)
    shutil.rmtree(directory.path)
    _, successor = rundir.claim("alpha", 1)
    with pytest.raises(VerbFailed, match="another cluster"):
        lock.restore()
    lock.remove()
    assert directory.path.exists()
    successor.remove()


def test_the_next_start_clears_throw_away_data_that_no_launcher_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held, kept, abandoned = (
        open_data(ClusterSpec()),
        open_data(ClusterSpec(keep=True)),
        open_data(ClusterSpec()),
    )
    kept.close()
    os.close(abandoned.lock_fd)
    clear_abandoned()
    assert [data.path.exists() for data in (held, kept, abandoned)] == [True, True, False]
    held.close()


def test_a_run_directory_that_no_launcher_holds_is_cleared_with_the_data_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(ClusterSpec())
    directory, lock = rundir.claim("alpha", 1)
    ClusterRecord(
        name="alpha", cluster="c", pid=0, started_seconds=0.0, data_dir=str(data.path), log_dir="", events="",
        spec=ClusterSpec(), nodes=[],
    ).write(directory.record)  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # It was made below another one.
    clear_abandoned()
    assert directory.path.exists()
    assert data.path.exists()
    lock.release()
    os.close(data.lock_fd)
    clear_abandoned()
    assert not directory.path.exists()
    assert not data.path.exists()


def test_a_verb_says_where_it_has_looked_for_a_cluster() -> None:
    with pytest.raises(Unreachable, match=str(rundir.run_base())):
        rundir.find(None)
    with pytest.raises(Unreachable, match=str(rundir.run_base() / "alpha")):
        rundir.find("alpha")


def test_a_record_of_a_cluster_of_which_a_disk_has_changed_a_bit_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    spec = ClusterSpec(name="alpha", nodes=3, data_dir=str(data))
    open_data(spec).close()
    record = data / "cluster.json"
    sound = record.read_bytes()
    for bit in range(0, 8 * len(sound), 3):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        record.write_bytes(damaged)
        try:
            opened = open_data(spec)
        except BadUsage:
            continue
        assert opened.members == [1, 2, 3], "white space, or a name that is not known"
        assert opened.reserve_id() == 4
        opened.close()
        shutil.rmtree(data / "n4")
    older = re.sub(rb',\s*"checksum": \d+', b"", sound).replace(b'"v": 2', b'"v": 1')
    record.write_bytes(older.replace(b'"last_id": 0', b'"last_id": 9'))
    assert open_data(spec).reserve_id() == 10, "of an older version"


def test_data_of_which_a_start_was_interrupted_before_any_node_began_is_begun_again(tmp_path: Path) -> None:
    spec = ClusterSpec(nodes=2, data_dir=str(tmp_path / "data"))
    open_data(spec).close()
    (tmp_path / "data" / "cluster.json").unlink()
    (tmp_path / "data" / "logs").rmdir()
    assert open_data(spec).members == [1, 2]


def test_a_node_s_data_without_the_record_of_its_cluster_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    spec = ClusterSpec(nodes=1, data_dir=str(tmp_path / "data"))
    open_data(spec).close()
    (tmp_path / "data" / "logs").rmdir()
    (tmp_path / "data" / "cluster.json").rename(tmp_path / "data" / "n1" / "cluster.json")
    with pytest.raises(BadUsage, match="something other"):
        open_data(spec)


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR", "data"])
def test_a_directory_whose_name_is_no_text_is_refused_by_what_names_it(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / os.fsdecode(b"\xff")
    named.mkdir()
    monkeypatch.setenv(variable, str(named))
    monkeypatch.setattr(tempfile, "tempdir", None)
    spec = ClusterSpec(nodes=1, data_dir=str(named / "data") if variable == "data" else None)
    with pytest.raises(BadUsage, match="not text in utf-8.*" + variable):
        if variable == "XDG_RUNTIME_DIR":
            rundir.claim("alpha", 1)
        open_data(spec)
    assert not any(named.iterdir())


def test_a_cluster_that_starts_just_now_hides_no_other_from_the_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ClusterSpec(name="alpha", nodes=1)
    (alpha, held), (_, starting) = rundir.claim("alpha", 1), rundir.claim("beta", 1)
    record = ClusterRecord(
        name="alpha", cluster="alpha-1", pid=1, started_seconds=0.0, data_dir=str(tmp_path), log_dir="",
        events="", spec=spec, nodes=[],
    )  # fmt: skip
    record.write(alpha.record)
    assert run(["ls", "-o", "json"], None, 0.0, -1) == ExitCode.OK
    shown = capsys.readouterr()
    assert [cluster["name"] for cluster in json.loads(shown.out)["clusters"]] == ["alpha"]
    assert "beta: the cluster starts or ends at the moment" in shown.err
    held.release()
    starting.release()
