"""Defaults of options from files: see config_paths.

Owns what they may contain, and errors with file and line. Options on the command line come first, then the
environment, then these files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NoReturn

from raft.cli.config_paths import FILE, files
from raft.cluster.failures import BadUsage

CONTEXTS = "contexts"
CONTEXT_KEYS = ("endpoints", "keys", "cluster-id")
NOT_HERE = {"help", "version", "detach"}  # `detach` forks the process before any file is read.


def context_table(name: str) -> dict[str, str]:
    """What [contexts.NAME] says, of the first file that has it. Raises BadUsage."""
    known: list[str] = []
    for path in files():
        found = _File(path).contexts()
        if name in found:
            return found[name]
        known += found
    there = (
        f"there are {', '.join(sorted(known))}" if known else f"write it into {FILE}, as [contexts.{name}]"
    )
    raise BadUsage(f"there is no context {name!r}: {there}")


class Default:
    """The value of an option, and where it is written."""

    def __init__(self, place: str, value: object) -> None:
        self.place = place
        self.value = value


def defaults(application: Any, verb: str) -> dict[str, Default]:
    """The defaults of a verb's options, by parameter, from all files; raises BadUsage.

    `application` is the group of all commands, in which `verb` is found by its words.
    """
    found: dict[str, Default] = {}
    for path in reversed(files()):
        found |= _File(path).defaults(dict(_commands(application)), verb)
    return found


def _commands(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    for name, one in getattr(command, "commands", {}).items():
        inner = f"{words} {name}".strip()
        if hasattr(one, "commands"):
            yield from _commands(one, inner)
        else:
            yield inner, one


def _options(command: Any) -> dict[str, Any]:
    """A command's options by their long names."""
    return {
        name.removeprefix("--"): parameter
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name.startswith("--") and name.removeprefix("--") not in NOT_HERE
    }


class _File:
    def __init__(self, path: Path) -> None:
        import tomllib  # Here, since most runs read no file.

        self._path = path
        try:
            self._text = path.read_text(encoding="utf-8")
            self._content = tomllib.loads(self._text)
        except OSError as error:
            raise BadUsage(f"{path} cannot be read: {error.strerror}") from None
        except ValueError as error:  # TOMLDecodeError, and UnicodeDecodeError.
            raise BadUsage(f"{path} is not valid TOML: {error}") from None
        except RecursionError:
            raise BadUsage(f"{path} is nested too deeply") from None

    def defaults(self, commands: dict[str, Any], verb: str) -> dict[str, Default]:
        """The defaults of one verb; the names in all tables are checked."""
        options = {name: _options(command) for name, command in commands.items()}
        general = {name for known in options.values() for name, one in known.items() if one.envvar}
        found: dict[str, Default] = {}
        tables = dict(self._tables(self._content, set(options) | general))
        for name, value in tables.pop("", {}).items():
            if name not in general:
                self._refuse("", name, general | {word.split()[0] for word in options})
            parameter = options.get(verb, {}).get(name)
            if parameter is not None and parameter.envvar:
                found[parameter.name] = Default(self._place("", name), value)
        for table, entries in tables.items():
            for name, value in entries.items():
                if name not in options[table]:
                    self._refuse(table, name, options[table])
                if table == verb:
                    found[options[table][name].name] = Default(self._place(table, name), value)
        return found

    def contexts(self) -> dict[str, dict[str, str]]:
        """All contexts: endpoints, keys and cluster-id of clusters that run elsewhere."""
        contexts = self._content.get(CONTEXTS, {})
        if not isinstance(contexts, dict) or not all(isinstance(one, dict) for one in contexts.values()):
            raise BadUsage(f"{self._path}: contexts are tables, as in [contexts.production]")
        for name, entries in contexts.items():
            for key, value in entries.items():
                if key not in CONTEXT_KEYS:
                    self._refuse(f"{CONTEXTS} {name}", key, CONTEXT_KEYS)
                if not isinstance(value, str):
                    raise BadUsage(f"{self._place(f'{CONTEXTS} {name}', key)}: {key} takes text")
            if "endpoints" not in entries:
                raise BadUsage(f"{self._path}: [contexts.{name}] has no endpoints")
        return contexts

    def _tables(
        self, content: dict[str, Any], known: Collection[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each verb's table by the verb's words; "" is the top."""
        yield "", {name: value for name, value in content.items() if not isinstance(value, dict)}
        for name, value in content.items():
            if not isinstance(value, dict) or name == CONTEXTS:
                continue
            if name in known:
                yield name, value
                continue
            if not any(word.startswith(f"{name} ") for word in known):
                self._refuse("", name, {word.split()[0] for word in known})
            for inner, entries in value.items():
                if f"{name} {inner}" not in known or not isinstance(entries, dict):
                    self._refuse(
                        name, inner, {word.split()[1] for word in known if word.startswith(f"{name} ")}
                    )
                yield f"{name} {inner}", entries

    def _refuse(self, table: str, name: str, known: Collection[str]) -> NoReturn:
        alike = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(sorted(known))}"
        if name in known:
            hint = f"its options stand in a table, [{'.'.join([*table.split(), name])}]"
        where = f"in [{table.replace(' ', '.')}]" if table else "at the top"
        if name in NOT_HERE:
            hint = "it is for the command line only"
        raise BadUsage(f"{self._place(table, name)}: {name!r} is not known {where}: {hint}")

    def _place(self, table: str, name: str) -> str:
        """The file and, if the line is found, its number."""
        header = ""
        for number, line in enumerate(self._text.splitlines(), 1):
            found = re.match(r"\s*\[([^]]*)\]", line)
            header = found[1].replace(".", " ") if found else header
            is_it = re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line) if header == table else None
            if is_it or (found and header == f"{table} {name}".strip()):
                return f"{self._path}:{number}"
        return str(self._path)
