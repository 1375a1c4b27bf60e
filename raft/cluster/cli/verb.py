"""What all verbs have in common: --quiet, and examples that name the program as it was called.

Owns the class of their commands. Knows no verb.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import typer
from typer.core import TyperCommand, TyperOption

PROGRAM = "launcher.py"  # As it is written in help and epilogs.


class Verb(TyperCommand):
    """A command with `--quiet`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params.append(
            TyperOption(
                param_decls=["--quiet", "-q"],
                is_flag=True,
                expose_value=False,
                callback=_be_quiet,
                help="Only data and errors: no confirmations, no progress, no notes.",
            )
        )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the name of the program as it was called."""
        program = ctx.find_root().info_name
        self.epilog = (self.epilog or "").replace(PROGRAM, program)
        super().format_help(ctx, formatter)


class Verbs(typer.Typer):
    """A set of such commands."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("no_args_is_help", True)
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(**settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """See `typer.Typer`."""
        return super().command(name, cls=Verb, **settings)


def _be_quiet(context: Any, _parameter: Any, wanted: bool) -> None:
    if wanted:
        context.obj = msgspec.structs.replace(context.obj, quiet=True)
