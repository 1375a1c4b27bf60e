"""Completion of command lines.

Owns the candidates: verbs, their options, and values where they are known. Serves the launcher's prompt and,
by the options' own completion, the shells. Knows nothing of terminals.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from typing import Any

from raft.cluster.records.events import KINDS
from raft.protocol.records import EVENT_KINDS


def candidates(before: str) -> Iterator[tuple[str, str]]:
    """Words that may end the line that begins with `before`, each with its description."""
    try:
        words = shlex.split(before)
    except ValueError:  # An unclosed quote.
        return
    begun = words.pop() if words and not before[-1:].isspace() else ""
    yield from completions(words, begun)


def completions(words: list[str], begun: str) -> list[tuple[str, str]]:
    """Words that may follow `words` and begin with `begun`, each with its description."""
    import raft.cli.main  # noqa: F401 - Here, since its verbs complete their options by this module.
    from raft.cli.app import app, cluster_before_verb

    command: Any = app.as_command()
    if words == ["--cluster"]:
        return [(name, "") for name in clusters(begun)]
    _, rest = cluster_before_verb(words)
    if (rest or [begun])[0].startswith("-"):  # The verb `up` was left out.
        more = [("--cluster", ""), ("--version", ""), ("--help", "")] if not words else []
        found = [*_words_of(command.commands["up"], rest, begun), *more]
        return sorted(pair for pair in found if pair[0].startswith(begun))
    arguments: list[str] = []
    for word in rest:
        inner = getattr(command, "commands", {}).get(word)
        command = inner or command
        arguments = [] if inner else [*arguments, word]
    if hasattr(command, "commands"):
        found = [(name, one.get_short_help_str()) for name, one in command.commands.items() if not one.hidden]
    else:
        found = list(_words_of(command, arguments, begun))
    return sorted({pair for pair in found if pair[0].startswith(begun)})


def _words_of(command: Any, arguments: list[str], begun: str) -> Iterator[tuple[str, str]]:
    """Options, or values for the next option or argument."""
    by_name = {name: one for one in command.params for name in one.opts}
    option = by_name.get(arguments[-1]) if arguments else None
    if option is not None and arguments[-1].startswith("-") and not option.is_flag:
        yield from _values(command, option, begun)
    elif begun.startswith("-"):
        yield from ((name, one.help or "") for name, one in by_name.items() if name.startswith("--"))
    else:
        yield from (pair for one in command.params if one.param_type_name == "argument"
                    for pair in _values(command, one, begun))  # fmt: skip


def _values(command: Any, parameter: Any, begun: str) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, resilient_parsing=True)
    return ((str(item.value), item.help or "") for item in parameter.shell_complete(context, begun))


def selectors(incomplete: str) -> list[str]:
    """Selectors that begin like this; after a comma, their continuations."""
    before, comma, last = incomplete.rpartition(",")
    words = ["leader", "followers", "all", "random", *_node_ids()]
    return [f"{before}{comma}{word}" for word in words if word.startswith(last)]


def clusters(incomplete: str) -> list[str]:
    """Running clusters whose names begin like this."""
    from raft.cluster.rundir import running

    return [directory.name for directory in running() if directory.name.startswith(incomplete)]


def fault_families(incomplete: str) -> list[str]:
    """Values of `chaos --faults`; after a comma, their continuations."""
    from raft.lab.chaos.generator import families

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in ("none", *families()) if name.startswith(last)]


def workloads(incomplete: str) -> list[str]:
    """Values of `chaos --workload`."""
    from raft.lab.checkers.records import WORKLOADS

    return [name for name in WORKLOADS if name.startswith(incomplete)]


def crash_points(incomplete: str) -> list[str]:
    """Values of `kill --at`."""
    from raft.protocol.admin import AT_ONCE
    from raft.storage.device import CRASH_POINTS

    return [name for name in (AT_ONCE, *CRASH_POINTS) if name.startswith(incomplete)]


def event_kinds(incomplete: str) -> list[str]:
    """Kinds of events that begin like this."""
    return sorted(kind for kind in KINDS | EVENT_KINDS.keys() if kind.startswith(incomplete))


def _node_ids() -> list[str]:
    """Of the running cluster, if there is just one."""
    from raft.cluster.failures import VerbFailed
    from raft.cluster.rundir import find
    from raft.cluster.spec import ClusterRecord

    with contextlib.suppress(VerbFailed):
        return [str(node.id) for node in ClusterRecord.read(find(None).record).nodes]
    return []
