"""Completion in bash, zsh and fish: the scripts, their installation, and the verb that they call.

Owns the verb `completion` and the hidden `__complete`, by which a script gets the candidates. The candidates
are in completion.
"""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from raft.cli.app import CLUSTER, app, note, out
from raft.cli.terminal.completion import completions
from raft.cli.terminal.output import discard_output
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed

# A script runs the program by the words that were typed: `raft-actors`, or `python launcher.py`.
_BASH = r"""
_raft_actors() {
    local first=0 word
    case ${COMP_WORDS[0]##*/} in python*) first=1;; esac
    COMPREPLY=()
    (( COMP_CWORD > first )) || return
    if (( first )) && [[ ${COMP_WORDS[1]##*/} != launcher.py ]]; then return; fi
    while IFS=$'\t' read -r word _; do
        COMPREPLY+=("$word")
    done < <("${COMP_WORDS[@]:0:first + 1}" __complete \
        "${COMP_WORDS[@]:first + 1:COMP_CWORD - first}" 2>/dev/null)
}
complete -o default -F _raft_actors raft-actors python python3
"""
_ZSH = r"""
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_raft_actors() {
    local first=1 line
    local -a found
    if [[ ${words[1]:t} == python* ]]; then
        first=2
        if (( CURRENT <= 2 )) || [[ ${words[2]:t} != launcher.py ]]; then
            _python "$@"
            return
        fi
    fi
    for line in "${(@f)$("${(@)words[1,first]}" __complete "${(@)words[first + 1,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( $#found )); then _describe -V raft-actors found; else _files; fi
}
compdef _raft_actors raft-actors python python3
"""
_FISH = r"""
function __raft_actors
    set -l words (commandline -opc)
    set -l begun (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    if string match -q 'python*' (basename $program)
        set -a program $words[1]
        set -e words[1]
    end
    set -l found (command $program __complete $words "$begun" 2>/dev/null)
    if test -n "$found"
        printf '%s\n' $found
    else
        __fish_complete_path "$begun"
    end
end
function __raft_actors_by_python
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test (basename $words[2]) = launcher.py
end
complete -c raft-actors -f -a '(__raft_actors)'
complete -c python -n __raft_actors_by_python -f -a '(__raft_actors)'
complete -c python3 -n __raft_actors_by_python -f -a '(__raft_actors)'
"""


class ShellName(enum.StrEnum):
    """The shells with a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


SCRIPTS = {ShellName.BASH: _BASH, ShellName.ZSH: _ZSH, ShellName.FISH: _FISH}


def print_completions(words: list[str]) -> int:
    """Print what may follow all words but the last, incomplete one.

    A line each, with a tab and description.
    """
    *before, begun = words or [""]
    found = completions(before, begun)
    try:
        sys.stdout.write("".join(f"{word}\t{' '.join(meaning.split())}\n" for word, meaning in found))
        sys.stdout.flush()
    except OSError:
        discard_output()
    return ExitCode.OK


@app.command(rich_help_panel=CLUSTER, epilog="Example: launcher.py completion bash --install")
def completion(
    context: typer.Context,
    shell: Annotated[
        ShellName | None,
        typer.Argument(
            metavar="bash|zsh|fish", help="The shell; by default that of $SHELL.", show_default=False
        ),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install it for that shell; by default it goes to stdout.")
    ] = False,
) -> None:
    """Complete verbs, options, selectors and values with Tab, also after `python launcher.py`."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in list(ShellName):
        raise BadUsage(f"there is no completion for {name or 'no shell'}: name one of {', '.join(ShellName)}")
    script = SCRIPTS[ShellName(name)].lstrip("\n")
    if not install:
        out(script.rstrip("\n"))
        return
    try:
        written = _install(ShellName(name), script)
    except OSError as error:
        raise VerbFailed(f"{error.filename} cannot be written: {error.strerror}") from error
    for path in written:
        out(str(path))
    note(context, f"it works in every {name} started from now on")


def _install(shell: ShellName, script: str) -> list[Path]:
    """Write the script, and add it once to the shell's startup file."""
    home = Path.home()
    if shell is ShellName.FISH:
        path = _directory("XDG_CONFIG_HOME", home / ".config") / "fish/conf.d/raft-actors.fish"
    else:
        path = _directory("XDG_DATA_HOME", home / ".local/share") / f"raft-actors/completion.{shell}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    if shell is ShellName.FISH:
        return [path]
    start = (
        home / ".bashrc" if shell is ShellName.BASH else Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    )
    line = f'source "{path}"'
    before = start.read_text() if start.exists() else ""
    if line not in before.splitlines():
        with start.open("a") as file:
            file.write(("" if before.endswith("\n") or not before else "\n") + line + "\n")
    return [path, start]


def _directory(variable: str, otherwise: Path) -> Path:
    named = os.environ.get(variable, "")
    return Path(named) if named.startswith("/") else otherwise
