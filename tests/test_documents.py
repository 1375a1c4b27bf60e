"""What the documents say: the tests they name exist, their links lead somewhere, their programs run."""

from __future__ import annotations

import ast
import asyncio
import importlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from raft.cluster.failures import ExitCode
from raft.embedding import Node
from raft.machines.commands import Downgrade
from raft.machines.results import Agreed
from raft.machines.testkit import check_machine, replay
from raft.machines.typed import answer_to, body_of
from raft.protocol.client import TooNew
from tests.examples.hosts import PATIENCE_SECONDS, environment, running_program
from tests.examples.test_examples import free_port
from tests.node import test_versions as versions
from tests.processes.clusters import wait_until

ROOT = Path(__file__).resolve().parent.parent
_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / page for page in _PAGES)]
_NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@every_document
def test_every_test_that_is_named_exists(document: Path) -> None:
    for file, name in _NAMED_TEST.findall(document.read_text()):
        tree = ast.parse((ROOT / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (
            f"{file}::{name}"
        )


def test_every_promise_names_a_test() -> None:
    promises, _, _ = (ROOT / "docs" / "guarantees.md").read_text().partition("## What is not promised")
    for promise in re.split(r"^\*\*", promises, flags=re.MULTILINE)[1:]:
        assert _NAMED_TEST.search(promise), promise


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        assert (document.parent / target).exists(), target


@every_document
def test_every_program_is_python(document: Path) -> None:
    for program in _PROGRAM.findall(document.read_text()):
        ast.parse(program)


IMPORTED_FROM = {"raft.actors", "raft.client", "raft.embedding", "raft.machines", "raft.lab"}


@pytest.mark.parametrize(
    "path", [*DOCUMENTS, *sorted((ROOT / "examples").glob("*.py"))], ids=lambda path: path.name
)
def test_what_a_user_types_is_imported_from_the_packages_themselves(path: Path) -> None:
    text = path.read_text()
    for program in _PROGRAM.findall(text) if path.suffix == ".md" else [text]:
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raft"):
                if node.module == "raft.engines.ray":  # Which needs Ray.
                    continue
                assert node.module in IMPORTED_FROM, f"{node.module}: a user knows {sorted(IMPORTED_FROM)}"
                package = importlib.import_module(node.module)
                assert {alias.name for alias in node.names} <= set(package.__all__), ast.unparse(node)


@pytest.mark.parametrize("name", sorted(IMPORTED_FROM))
def test_what_a_package_offers_is_there(name: str) -> None:
    package = importlib.import_module(name)
    for offered in package.__all__:
        assert getattr(package, offered) is not None
    with pytest.raises(AttributeError):
        _ = package.no_such_name


@pytest.mark.processes
def test_the_program_of_the_page_on_embedding_does_the_billing_on_one_host() -> None:
    program, *_ = _PROGRAM.findall((ROOT / "docs" / "embedding.md").read_text())
    with tempfile.TemporaryDirectory(prefix="rd", ignore_cleanup_errors=True) as name:
        path = Path(name) / "program.py"
        path.write_text(program)
        with running_program(path, Path(name)) as hosts:
            first = hosts.hear(r"host (\d) does the billing, token (\d+)")
            hosts.signal(int(first[1]), signal.SIGKILL)
            second = hosts.hear(r"host (\d) does the billing, token (\d+)")
            assert int(second[2]) > int(first[2])


@pytest.mark.processes
def test_the_service_of_the_page_on_embedding_counts_visits_and_forked_workers_see_them() -> None:
    _, service, workers = _PROGRAM.findall((ROOT / "docs" / "embedding.md").read_text())
    port, endpoint = free_port(), f"tcp://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="rd", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        Path(name, "service.py").write_text(service)
        web = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--log-level", "error"],
            env=environment(HOSTS=f"1 {endpoint}", DATA_DIR=f"{name}/raft"), cwd=name,
        )  # fmt: skip
        stack.callback(web.wait, PATIENCE_SECONDS)
        stack.callback(web.terminate)
        visits = stack.enter_context(httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{port}"))

        def visit() -> int:
            try:
                return int(visits.post("/visits").text)
            except httpx.TransportError:
                return 0

        wait_until(lambda: visit() > 0, PATIENCE_SECONDS)
        count = visit()
        forked = (
            f"{workers}\nassert cluster() is cluster()\nchild = os.fork()\nif child:\n    os.wait()\n"
            "print(cluster().get('visits'), flush=True)\ncluster().close()"
        )
        done = subprocess.run(
            [sys.executable, "-c", forked], env=environment(HOSTS=endpoint), capture_output=True, text=True
        )
        assert done.stdout.splitlines() == [str(str(count).encode())] * 2, done.stderr


@pytest.mark.processes
def test_the_programs_on_the_page_about_machines_are_sound() -> None:
    bank, check, *_ = _PROGRAM.findall((ROOT / "docs" / "machines.md").read_text())
    exec(check, {})
    page: dict[str, Any] = {"__name__": __name__}
    exec(bank, page)
    log = [body_of(page["Deposit"]("alice", cents)) for cents in (500, -200, -400)]
    balance = body_of(page["Balance"]("alice"))
    check_machine(page["Bank"], log, queries=[balance])
    answers = replay(machine := page["Bank"](), log).answers
    assert answers[2] == "MachineError: alice has not so much"
    assert answer_to(page["Balance"]("alice"), machine.query(balance)) == 300


def test_the_bank_on_the_page_about_machines_is_upgraded_and_lowered_node_by_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old_bank, _, bank, check, lower = _PROGRAM.findall((ROOT / "docs" / "machines.md").read_text())
    old, new = module(monkeypatch, "old_bank", old_bank), module(monkeypatch, "bank", bank)
    exec(check, {})
    cluster = versions.cluster_of(old.Bank, old.Bank, old.Bank)
    versions.call(cluster, old.Deposit("alice", 500))
    for node in (1, 2, 3):
        assert isinstance(versions.call(cluster, new.Close("bob")), TooNew)
        versions.restart(cluster, node, new.Bank)
        versions.call(cluster, new.Deposit("alice", 1))
    versions.until_agreed(cluster, 2)
    assert versions.call(cluster, new.Deposit("carol", -60)) == -60
    page: dict[str, Any] = {}
    exec(lower, page)

    class Lowered:
        async def call(self, operation: Downgrade) -> object:
            return versions.order(cluster, operation)

    assert asyncio.run(page["lower"](Lowered())) == Agreed(1, 1)
    for node in (1, 2, 3):
        versions.restart(cluster, node, old.Bank)
    assert versions.call(cluster, old.Deposit("alice", 1)) == 504


def module(monkeypatch: pytest.MonkeyPatch, name: str, program: str) -> Any:
    """A program as a module that others import."""
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(program, made.__dict__)
    return made


@pytest.mark.processes
def test_the_readme_s_node_and_its_client_do_what_they_say() -> None:
    text = (ROOT / "README.md").read_text()
    at = {node: f"tcp://127.0.0.1:{free_port()}" for node in (1, 2, 3)}
    for node, endpoint in at.items():
        text = text.replace(f"tcp://127.0.0.1:700{node}", endpoint)
    command = re.search(r"^\$ (python -m raft\.node .*?[^\\])$", text, re.MULTILINE | re.DOTALL)
    assert command is not None
    client = next(program for program in _PROGRAM.findall(text) if "Client(" in program)
    shown, expected = printing(client)
    with tempfile.TemporaryDirectory(prefix="rd", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        words = shlex.split(command[1].replace("\\\n", " ").replace("/var/lib/raft/1", f"{name}/1"))
        first = subprocess.Popen([sys.executable, *words[1:]], env=environment(), stderr=subprocess.DEVNULL)
        stack.callback(first.wait, PATIENCE_SECONDS)
        stack.callback(first.terminate)
        for node in (2, 3):
            stack.enter_context(Node(node, listen=at[node], peers=at, data_dir=f"{name}/{node}"))
        done = subprocess.run(
            [sys.executable, "-c", shown], env=environment(), capture_output=True, text=True, timeout=60
        )
        assert done.stdout.splitlines() == expected, done.stderr


def printing(program: str) -> tuple[str, list[str]]:
    """The program with each commented call printed, and the comments: what they say is printed."""
    lines, expected = [], []
    for line in program.splitlines():
        call, mark, comment = line.partition("  # ")
        if mark:
            call = re.sub(r"\S.*", r"print(\g<0>)", call)
            expected.append(comment.removesuffix(", linearizable").replace('"', "'"))
        lines.append(call)
    return "\n".join(lines), expected


def test_the_site_has_every_page() -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f": {page.name}" not in site] == []


def test_every_exit_code_of_a_verb_is_in_the_table() -> None:
    table = (
        (ROOT / "docs" / "command-line.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    )
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")}
    assert listed == {*ExitCode, 130}


def test_the_tree_in_the_architecture_names_every_folder_of_the_code_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = page[page.index("launcher.py ") : page.index("benchmarks/ tests/")]
    named: set[str] = set()
    above: list[str] = []
    for line in tree.splitlines():
        place, _, words = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], place.rstrip("/")]
        folder = "/".join(above)
        below = {f"{folder}/{name}" for name in re.findall(r"(\w+)/(?!\w)", words)}
        named |= {folder} | {path for path in below if (ROOT / path).is_dir()}
    packages = {
        path.parent.relative_to(ROOT).as_posix()
        for top in ("actors", "raft")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert [place for place in named if not (ROOT / place).exists()] == []
    assert {folder for folder in packages if folder.count("/") <= 2} - named == set()
