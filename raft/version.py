"""The version of the project. Owns where it is read; loaded by what shows it alone."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def project_version() -> str:
    """That of the installed package; in a checkout that is not installed, the one it would have."""
    try:
        return version("raft-actors")
    except PackageNotFoundError:
        described = Path(__file__).resolve().parent.parent / "pyproject.toml"
        if not described.exists():
            return "unknown"
        return str(tomllib.loads(described.read_text())["project"]["version"])
