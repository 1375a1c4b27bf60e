"""The shape of the code, held by a test: who may import whom, how long things get, what is documented.

The arrows are written below as data. Imports are read from the source, so a lazy import inside a
function counts like one at the top. What a node process really loads is asked of a real interpreter.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*sorted(ROOT.glob("actors/**/*.py")), *sorted(ROOT.glob("raft/**/*.py")), ROOT / "launcher.py"]
TESTS = sorted(ROOT.glob("tests/**/*.py"))
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FOLDER_FILES_MAX = 21  # With __init__.py.
# What is one thing, and would be harder to find in two folders; it grows no more.
LARGE_FOLDERS = {"raft/core": 27}

PURE = {
    "__future__", "abc", "bisect", "collections", "contextlib", "dataclasses", "enum", "functools", "_blake2",
    "heapq", "importlib", "inspect", "itertools", "math", "operator", "random", "struct", "types", "typing",
    "weakref", "zlib", "msgspec",
}  # fmt: skip

_PROTOCOL = {"raft.protocol", "raft.durations"}
_BELOW_CLUSTER = {"actors", "raft.node", "raft.client", "raft.machines", "raft.storage", *_PROTOCOL}

# Layer -> what of this project it may import. The most specific layer wins.
ARROWS: dict[str, set[str]] = {
    "actors": {"actors"},
    "raft": set(),
    "raft.durations": set(),
    "raft.version": set(),
    "raft.core": {"raft.core"},
    "raft.storage": {"raft.storage", "raft.core.types", "raft.core.errors"},
    "raft.machines": {"raft.machines"},
    "raft.protocol": {"raft.protocol.limits"},
    "raft.protocol.registry": {"actors", "raft.core", "raft.protocol"},
    "raft.node": {
        "raft.version",
        "actors",
        "raft.core",
        "raft.storage",
        "raft.machines",
        "raft.node",
        *_PROTOCOL,
    },
    "raft.actors": {
        "actors",
        "raft.actors",
        "raft.client",
        "raft.core.types",
        "raft.durations",
        "raft.machines.results",
        "raft.storage",
    },
    "raft.client": {"actors", "raft.machines", "raft.client", *_PROTOCOL},
    "raft.exporter": {"actors", "raft.client", "raft.exporter", *_PROTOCOL},
    "raft.engines": {"actors", "raft.node", "raft.client", "raft.embedding", "raft.engines", *_PROTOCOL},
    "raft.embedding": {
        "actors",
        "raft.node",
        "raft.client",
        "raft.machines",
        "raft.exporter",
        "raft.embedding",
        *_PROTOCOL,
    },
    "raft.cluster": {*_BELOW_CLUSTER, "raft.cluster"},
    "raft.lab": {"raft.version", *_BELOW_CLUSTER, "raft.core", "raft.cluster", "raft.lab"},
    # The page of a run is the live page, fed from a file.
    "raft.lab.reports": {*_BELOW_CLUSTER, "raft.core", "raft.cluster", "raft.lab", "raft.live"},
    "raft.cli": {
        "raft.version",
        *_BELOW_CLUSTER,
        "raft.cluster",
        "raft.exporter",
        "raft.engines",
        "raft.lab",
        "raft.live",
        "raft.cli",
    },
    "raft.live": {"actors", "raft.client", "raft.cluster", "raft.live", *_PROTOCOL},
    "launcher": {"raft.cli", "raft.cluster", "raft.lab", "actors.processes"},
}

PURE_LAYERS = {"raft.core", "raft.machines", "raft.protocol"}
ZMQ_FILES = {
    "actors/transport/zeromq.py",
    "actors/transport/links.py",
    "actors/transport/sockets.py",
    "actors/transport/curve.py",
}
TERMINAL = {"typer", "rich", "click", "prompt_toolkit"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> str:
    return max((layer for layer in ARROWS if within(module, layer)), key=len)


def within(module: str, layer: str) -> bool:
    return module == layer or module.startswith(layer + ".")


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed file; several tests look at each."""
    return ast.parse(path.read_text())


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the file."""
    return tuple(ast.walk(tree_of(path)))


@cache
def lines_of(path: Path) -> list[str]:
    """The lines of the file."""
    return path.read_text().splitlines()


@cache
def imports(path: Path) -> list[str]:
    """Every module imported anywhere in the file; type-checking blocks included."""
    found: list[str] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in names if is_module(name)]
            found += submodules or [node.module]
    return found


@cache
def is_module(name: str) -> bool:
    base = ROOT.joinpath(*name.split("."))
    return base.with_suffix(".py").exists() or (base / "__init__.py").exists()


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def every_file(check: Callable[[Path], None]) -> Callable[[], None]:
    """One test of all files, which names each that fails."""

    def test() -> None:
        wrong = []
        for path in SOURCES:
            try:
                check(path)
            except AssertionError as error:
                wrong.append(str(error))
        assert not wrong, "\n".join(wrong)

    return test


@every_file
def test_arrows_between_layers_point_down_only(path: Path) -> None:
    module = module_name(path)
    allowed = ARROWS[layer_of(module)]
    ours = [name for name in imports(path) if name.split(".")[0] in {"actors", "raft", "launcher"}]
    wrong = [name for name in ours if not any(within(name, layer) for layer in allowed)]
    assert not wrong, f"{module} may import {sorted(allowed)}, not {wrong}"


@every_file
def test_pure_layers_import_only_what_computes(path: Path) -> None:
    if layer_of(module_name(path)) not in PURE_LAYERS:
        return
    theirs = {name.split(".")[0] for name in imports(path)} - {"raft"}
    if module_name(path) == "raft.protocol.registry":
        theirs.discard("actors")
    assert theirs <= PURE, f"{relative(path)} imports {sorted(theirs - PURE)}"


@every_file
def test_only_the_transport_imports_zmq(path: Path) -> None:
    if relative(path) not in ZMQ_FILES:
        assert "zmq" not in {name.split(".")[0] for name in imports(path)}


def test_files_of_tests_stay_short() -> None:
    sizes = {relative(path): len(lines_of(path)) for path in TESTS}
    assert {path: lines for path, lines in sizes.items() if lines > FILE_LINES_MAX} == {}


@every_file
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES_MAX, f"{relative(path)} has {len(text.splitlines())} lines"
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{relative(path)}: {node.name} has {lines} lines"


@every_file
def test_modules_and_public_names_have_docstrings(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), f"{relative(path)} does not say what it owns"
    for node in tree.body:
        if isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{relative(path)}: {node.name} has no docstring"


@every_file
def test_no_pickle_no_wall_clock_no_catch_all_name(path: Path) -> None:
    assert not {"pickle", "cloudpickle", "marshal"} & {name.split(".")[0] for name in imports(path)}
    assert path.name not in {"utils.py", "helpers.py", "common.py"}
    clocks = [node for node in nodes_of(path) if isinstance(node, ast.Attribute) and node.attr == "time"]
    assert not any(is_name(node.value, "time") for node in clocks), f"{relative(path)} reads the wall clock"


def test_the_actor_runtime_never_says_raft() -> None:
    for path in (ROOT / "actors").rglob("*.py"):
        assert "raft" not in path.read_text().lower().replace("raft-actors", ""), relative(path)


# Words of an earlier private language, and what replaced them.
PRIVATE_WORDS = {
    "nobody": "name the node, client or caller",
    "whoever": "name the node, client or caller",
    "somebody": "name the node, client or caller",
    "anybody": "name the node, client or caller",
    "everybody": "name the nodes, clients or callers",
    "steersman": "AsyncLauncherClient",
    "lull": "AppendCoalescer",
    "errand": "task",
    "spindle": "SimulatedWorker",
    "witness": "RecordingMachine",
    "steward": "MembershipOperator",
}
NAMED_OTHERWISE = {
    "tests/test_architecture.py",  # This list.
    "tests/engines/test_renderers.py",  # The system's user of that name.
}


def plain_texts() -> Iterator[Path]:
    """All that strangers read: the code, its tests, examples and benchmarks, the documents."""
    yield from (*SOURCES, *TESTS)
    for pattern in ("benchmarks/**/*.py", "examples/**/*.py", "docs/*.md", "tests/**/*.txt", "*.md"):
        yield from sorted(ROOT.glob(pattern))


# One run of a process or an actor is an incarnation; "lives" as a verb is plain English.
LIFE = re.compile(
    r"\b(an?|which|each|every|its|their|this|earlier|later|next|last|first|same|new|former|present|latest"
    r"|of one|one more) life\b(?! pipe)|\b(its|their|two|many|all|both|of|earlier|later) lives\b",
    re.IGNORECASE,
)


def test_one_run_of_a_process_or_an_actor_is_called_an_incarnation() -> None:
    found = {
        f"{relative(path)}:{number}: {match.group()}, instead: incarnation"
        for path in plain_texts()
        if relative(path) not in NAMED_OTHERWISE
        for number, line in enumerate(lines_of(path), 1)
        for match in LIFE.finditer(line.replace("_", " "))
    }
    assert not found, "\n".join(sorted(found))


def test_words_of_a_private_language_do_not_come_back() -> None:
    words = re.compile(rf"(?<![a-z])({'|'.join(PRIVATE_WORDS)})s?(?![a-z])", re.IGNORECASE)
    found = {
        f"{relative(path)}:{number}: {match.group()}, instead: {PRIVATE_WORDS[match.group(1).lower()]}"
        for path in plain_texts()
        if relative(path) not in NAMED_OTHERWISE
        for number, line in enumerate(lines_of(path), 1)
        for match in words.finditer(line)
    }
    assert not found, "\n".join(sorted(found))


LOOKED_INTO = {
    "tests/actors/test_zeromq.py": {"_link_to"},
}
"""Privates that tests look into, by file: to damage what no caller can damage, or to count what is kept.

The list only gets shorter: what a test needs to see is a public, read-only view of the object instead.
"""


def test_tests_look_into_no_other_objects_privates() -> None:
    found = {relative(path): looked_into(path) - LOOKED_INTO.get(relative(path), set()) for path in TESTS}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_list_of_privates_that_tests_look_into_has_nothing_to_spare() -> None:
    spare = {path: names - looked_into(ROOT / path) for path, names in LOOKED_INTO.items()}
    assert {path: names for path, names in spare.items() if names} == {}


def is_name(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def name_of(node: ast.AST) -> str:
    """The last word of what is called."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@cache
def looked_into(path: Path) -> set[str]:
    """The private attributes of other objects, and private names of modules, that a test file uses."""
    nodes = nodes_of(path)
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    own = {node.attr for node in attributes if is_name(node.value, "self", "cls")}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    used = {node.attr for node in attributes if not is_name(node.value, "os")} - own
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("tests"):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and name_of(node.func).endswith(("setattr", "getattr")):
            used |= {str(word.value) for word in node.args if isinstance(word, ast.Constant)}
    return {name for name in used if re.fullmatch(r"_[a-zA-Z]\w*", name)}


SMALL_LINES = 60
SMALL_WITH_ONE_IMPORTER = {
    "raft/cli/entry.py",  # Starts quickly, so it has nothing beside.
    "raft/engines/yaml.py",  # A format of its own.
    "raft/live/comparison.py",  # Pure, and tested on its own.
}


def test_folders_stay_small() -> None:
    sizes = Counter(path.parent.relative_to(ROOT).as_posix() for path in SOURCES if path.parent != ROOT)
    limits = {folder: LARGE_FOLDERS.get(folder, FOLDER_FILES_MAX) for folder in sizes}
    assert {folder: size for folder, size in sizes.items() if size > limits[folder]} == {}


def test_a_small_file_has_at_least_two_importers() -> None:
    importers = Counter(name for path in SOURCES for name in set(imports(path)))
    alone = {
        relative(path)
        for path in SOURCES
        if path.name not in {"__init__.py", "__main__.py", "launcher.py"}
        and len(lines_of(path)) < SMALL_LINES
        and importers[module_name(path)] < 2
    }
    assert alone <= SMALL_WITH_ONE_IMPORTER, "a small file with one importer belongs to that importer"


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def loaded_after(statement: str) -> set[str]:
    return {name.split(".")[0] for name in modules_after(statement)}


def test_a_node_loads_what_breaks_it_only_where_it_is_started_for_that() -> None:
    breaking = {
        "raft.node.process.fault_injection",
        "raft.node.process.faults",
        "raft.storage.faulty",
        "actors.transport.faults",
    }
    assert not modules_after("import raft.node.process.main, raft.node.__main__") & breaking
    assert modules_after("import raft.node.process.fault_injection") >= breaking


def test_a_node_process_never_loads_what_only_the_terminal_needs() -> None:
    loaded = loaded_after("import raft.node.process.main")
    assert not loaded & (TERMINAL | {"hypothesis", "pytest"})


def test_a_node_process_does_without_what_is_large_and_hardly_used() -> None:
    large = {"typing_extensions", "_hashlib", "ctypes"}
    if sys.version_info < (3, 12):  # From there on pyzmq's compiled half loads it.
        large |= {"inspect", "dis"}
    assert not modules_after("import raft.node.__main__") & large


def test_a_launcher_starts_its_nodes_before_it_loads_what_other_verbs_need() -> None:
    loaded = modules_after("import raft.cli.entry, raft.cli.verbs.cluster.lifecycle, raft.cluster.launch")
    assert not loaded & {"asyncio", "rich", "raft.cli.main", "raft.client", "importlib.metadata"}
    # Nodes are other processes.
    assert not loaded & {
        "raft.core.raft",
        "raft.machines.application",
        "raft.storage.store",
        "raft.node.node",
    }


def test_a_verb_from_a_shell_never_loads_the_editor_of_the_prompt() -> None:
    assert "prompt_toolkit" not in loaded_after("import raft.cli.main")


def test_all_verbs_together_load_nothing_that_few_of_them_need() -> None:
    assert not modules_after("import raft.cli.main") & {"asyncio", "email", "_hashlib", "importlib.metadata"}


def test_a_verb_never_loads_what_only_the_live_views_need() -> None:
    assert not loaded_after("import raft.cli.main, raft.live.sampler") & {"starlette", "uvicorn", "textual"}


def test_importing_the_core_never_loads_zeromq() -> None:
    assert "zmq" not in loaded_after("import raft, raft.core.raft")
