"""The parts common to all verbs: --quiet, defaults from files, and examples with the program's name.

Owns the class of their commands. Knows no verb.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from raft.cli.config_file import CONTEXT_KEYS, context_table, defaults
from raft.cli.config_paths import files
from raft.cluster.failures import BadUsage

PROGRAM = "launcher.py"  # As written in help and epilogs.


class Verb(TyperCommand):
    """A command with `--quiet`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # Paragraphs are filled to the terminal's width, without the line breaks of the source.
        self.help = "\n\n".join(" ".join(part.split()) for part in (self.help or "").split("\n\n"))
        for parameter in self.params:
            self._show_default_as_typed(parameter)
        if any(parameter.name == "cluster" for parameter in self.params):
            self.params += [_remote(*words) for words in REMOTE]
        self.params.append(
            TyperOption(
                param_decls=["--quiet", "-q"],
                is_flag=True,
                expose_value=False,
                callback=_be_quiet,
                envvar="RAFT_QUIET",
                show_envvar=True,
                help="Data and errors only.",
            )
        )

    def make_parser(self, ctx: Any) -> Any:
        """Each flag has an opposite, which takes back what a file or the environment switches on."""
        parser = super().make_parser(ctx)
        taken = {name for parameter in self.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for flag in self.params:
            if not isinstance(flag, TyperOption) or not flag.is_flag or flag.secondary_opts:
                continue
            if (name := _opposite(max(flag.opts, key=len))) not in taken:
                parser.add_option(flag, [name], dest=flag.name, action="store_const", const=False)
        return parser

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse with the defaults from the user's files."""
        if files():
            ctx.default_map = self._defaults(ctx)
        left = super().parse_args(ctx, args)
        _choose_remote(ctx)
        return left

    def _defaults(self, ctx: Any) -> dict[str, object]:
        root = ctx.find_root()
        verb = ctx.command_path.removeprefix(root.info_name).strip()
        found = defaults(root.command, verb)
        if ctx.obj is not None and ctx.obj.cluster is not None:
            found.pop("cluster", None)  # At the prompt, verbs mean the cluster that runs there.
        parameters = {parameter.name: parameter for parameter in self.params}
        return {
            name: _checked(ctx, parameters[name], default.place, default.value)
            for name, default in found.items()
        }

    def _show_default_as_typed(self, parameter: Any) -> None:
        """Show a default value as it would be typed, not in parentheses."""
        written = getattr(parameter, "show_default", None)
        if isinstance(written, str):
            escape = "\\" if self.rich_markup_mode == "rich" else ""
            parameter.help = f"{parameter.help or ''} {escape}[default: {written}]".lstrip()
            parameter.show_default = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the name by which the program was called."""
        self.epilog = _as_called(self.epilog, ctx)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """Verbs with a common help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the name by which the program was called."""
        self.epilog = _as_called(self.epilog, ctx)
        super().format_help(ctx, formatter)


def _opposite(option: str) -> str:
    return f"--{option[5:]}" if option.startswith("--no-") else f"--no-{option[2:]}"


def _as_called(example: str | None, ctx: Any) -> str:
    return (example or "").replace(PROGRAM, ctx.find_root().info_name)


class Verbs(typer.Typer):
    """A set of such commands."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("cls", Group)
        settings.setdefault("no_args_is_help", True)
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(**settings)
        self._built: tuple[int, Any] = (0, None)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Run a command line."""
        return self.as_command()(*arguments, **settings)

    def as_command(self) -> Any:
        """What the command-line library runs: built once, and again when verbs were added since.

        Building takes a tenth of a second, too long for each line typed at the prompt.
        """
        verbs = self._verbs()
        if self._built[0] != verbs:
            self._built = verbs, typer.main.get_command(self)
        return self._built[1]

    def _verbs(self) -> int:
        groups = [group.typer_instance for group in self.registered_groups]
        return len(self.registered_commands) + sum(
            group._verbs() for group in groups if isinstance(group, Verbs)
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """See `typer.Typer`."""
        return super().command(name, cls=Verb, **settings)


def _checked(ctx: Any, parameter: Any, place: str, value: object) -> object:
    """A value as parsed from the command line; raises BadUsage if the option does not take it."""
    name = max(parameter.opts, key=len).removeprefix("--")
    if parameter.is_flag:
        if not isinstance(value, bool):
            raise BadUsage(f"{place}: {name} is true or false")
        return value
    several = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not parameter.multiple:
        raise BadUsage(f"{place}: {name} takes one value, not a list")
    if not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in several):
        raise BadUsage(f"{place}: {name} takes text or a number")
    written = [str(one) for one in several]
    try:
        parameter.type_cast_value(ctx, written if parameter.multiple else written[0])
    except typer.BadParameter as refusal:
        raise BadUsage(f"{place}: {name}: {refusal.message}") from None
    return written if parameter.multiple else written[0]


REMOTE = (
    ("--endpoints", "RAFT_ENDPOINTS", "N=ENDPOINT,…", "Nodes without a launcher here: some of them, or all."),
    ("--keys", "RAFT_KEYS", "FILE", "The key to speak to them with."),
    ("--cluster-id", "RAFT_CLUSTER_ID", "NAME", "What their --cluster is, if not default."),
    ("--context", "RAFT_CONTEXT", "NAME", "All three from this context in raft-actors.toml."),
)


def _remote(name: str, variable: str, metavar: str, text: str) -> TyperOption:
    """An option by which nodes are named instead of a launcher's cluster."""

    def keep(context: Any, parameter: Any, value: str | None) -> None:
        context.meta.setdefault(_META, {})[parameter.name] = value or ""

    return TyperOption(
        param_decls=[name],
        metavar=metavar,
        expose_value=False,
        callback=keep,
        envvar=variable,
        show_envvar=True,
        help=text,
        show_default=False,
    )


_META = "raft.remote"


def _choose_remote(ctx: Any) -> None:
    """Which cluster is meant: the word on the command line counts more than any default."""
    given = ctx.meta.get(_META)
    if not given or ctx.obj is None:
        return

    def typed(name: str) -> bool:
        source = ctx.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    named = [name for name in ("endpoints", "context") if given.get(name)]
    typed_here = [name for name in named if typed(name)]
    if typed("cluster") and typed_here:
        raise BadUsage(
            f"--cluster is one that a launcher runs here, and --{typed_here[0]} are others: choose one"
        )
    lonely = [name for name in ("keys", "cluster_id") if typed(name) and not named]
    if lonely:
        raise BadUsage(f"--{lonely[0].replace('_', '-')} goes with --endpoints or --context")
    if not named or typed("cluster") or (ctx.obj.cluster is not None and not typed_here):
        return
    if len(typed_here) == 2:
        raise BadUsage("--endpoints and --context both say which nodes are meant: choose one")
    table = {}
    if (typed_here or named)[0] == "context":
        table = context_table(given["context"])
    options = {name: name.replace("-", "_") for name in CONTEXT_KEYS}
    values = {
        name: given[option] if typed(option) or name not in table else table[name]
        for name, option in options.items()
    }
    remote = msgspec.structs.replace(
        ctx.obj.remote,
        endpoints=values["endpoints"],
        keys=values["keys"],
        cluster=values["cluster-id"],
    )
    ctx.obj = msgspec.structs.replace(ctx.obj, remote=remote)
    ctx.params["cluster"] = None


def _be_quiet(context: Any, _parameter: Any, wanted: bool) -> None:
    if wanted:
        context.obj = msgspec.structs.replace(context.obj, quiet=True)
