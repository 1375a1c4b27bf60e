"""Where files with defaults of options are: raft-actors.toml in the working directory, then the user's own.

Owns their places; what they may contain is config_file's. Asked before a cluster's fork server is started, so
it imports next to nothing: often there is no file.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # Type checkers take it for typing's, which is not worth its import here.
if TYPE_CHECKING:
    from pathlib import Path

FILE = "raft-actors.toml"


def files() -> list[Path]:
    """The existing files, in order of precedence; RAFT_CONFIG names another file instead, or "" for none.

    One in a directory that this user may not search, as another user's home, does not exist.
    """
    found = _names()
    if not found:
        return []
    from pathlib import Path

    return [Path(name) for name in found]


def _names() -> list[str]:
    named = os.environ.get("RAFT_CONFIG")
    if named is not None:
        return [named] if named else []
    config = os.environ.get("XDG_CONFIG_HOME", "")
    home = config if config.startswith("/") else os.path.expanduser("~/.config")  # noqa: PTH111 - see above
    return [name for name in (FILE, f"{home}/raft-actors/config.toml") if os.path.isfile(name)]  # noqa: PTH113
