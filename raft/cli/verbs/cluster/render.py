"""The verbs that write files for other programs: Prometheus, Grafana, systemd, Kubernetes.

Owns their command lines. What stands in the files is raft.engines'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from raft.cli import options
from raft.cli.app import CLUSTER, app, confirm, out
from raft.cli.verb import Verbs
from raft.cluster.failures import BadUsage, VerbFailed
from raft.protocol.client import MEMBERS_MAX

_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9_.@%/:+-]+")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?")

render = Verbs(
    help="Files for Prometheus, Grafana, systemd and Kubernetes.",
    epilog="Example: launcher.py render alerts",
)
app.add_typer(render, name="render", rich_help_panel=CLUSTER)

Members = Annotated[
    str,
    typer.Option("--members", metavar="LIST", help="As in 1=tcp://h1:7001,2=tcp://h2:7001,3=tcp://h3:7001."),
]
To = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="Write the files there; else print them.", show_default=False),
]
ClusterId = Annotated[str, typer.Option(metavar="NAME", help="The nodes' --cluster.")]


@render.command(epilog="Example: launcher.py render dashboard > raft.json")
def dashboard() -> None:
    """A dashboard for Grafana, as JSON to import."""
    from raft.engines import dashboard as engine

    out(engine.dashboard())


@render.command(epilog="Example: launcher.py render alerts > raft.rules.yml")
def alerts() -> None:
    """Alerting rules for Prometheus, as YAML for its rule_files."""
    from raft.engines.alerts import alert_rules

    out(alert_rules().rstrip())


@render.command(epilog="Example: launcher.py render systemd --members 1=tcp://h1:7001,2=tcp://h2:7001 --to .")
def systemd(
    context: typer.Context,
    members: Members,
    cluster_id: ClusterId = "default",
    python: Annotated[str, typer.Option(metavar="FILE", help="The interpreter.")] = "/usr/bin/python3",
    keys_dir: Annotated[
        str, typer.Option(metavar="DIR", help='Where each host has its keys; "" without any.')
    ] = "/etc/raft/keys",
    user: Annotated[str, typer.Option(metavar="NAME", help="Whom the nodes run as.")] = "raft",
    to: To = None,
) -> None:
    """A template unit for nodes, their environment files, and a unit for the exporter."""
    from raft.engines.systemd import Hosts, files

    asked = options.endpoints(members)
    for name, value in (
        ("--cluster-id", cluster_id),
        ("--python", python),
        ("--keys-dir", keys_dir),
        ("--user", user),
    ):
        if value and not _WORD.fullmatch(value):
            raise BadUsage(f"{name} {value!r}: a unit takes letters, digits and _.@%/:+- there")
    if not python.startswith("/"):
        raise BadUsage(f"--python {python!r}: systemd wants the whole path")
    local = [at for at in asked.values() if at.startswith(("ipc:", "tcp://127.", "tcp://localhost"))]
    if not keys_dir and len(local) < len(asked):
        raise BadUsage("nodes that listen beyond their own host need keys: give --keys-dir")
    _write(
        context,
        files(Hosts(members=asked, cluster=cluster_id, python=python, keys_dir=keys_dir, user=user)),
        to,
    )


@render.command(epilog="Example: launcher.py render kubernetes --namespace shop > raft.yaml")
def kubernetes(
    members: Annotated[int, typer.Option(metavar="N", help="How many: best 3 or 5.")] = 3,
    name: Annotated[str, typer.Option(metavar="NAME", help="Of all objects, and the pods' prefix.")] = "raft",
    namespace: Annotated[str, typer.Option(metavar="NAME")] = "default",
    cluster_id: ClusterId = "default",
    image: Annotated[
        str, typer.Option(metavar="IMAGE", help="See render containerfile.")
    ] = "raft-actors:latest",
    storage: Annotated[str, typer.Option(metavar="SIZE", help="Of each node's volume.")] = "10Gi",
    storage_class: Annotated[
        str, typer.Option(metavar="NAME", help="The cluster's default, if not given.", show_default=False)
    ] = "",
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Of a node, at most.")] = "1Gi",
    cpu: Annotated[str, typer.Option(metavar="SHARE", help="Asked for each node.")] = "500m",
) -> None:
    """A headless service, a disruption budget and a stateful set, as YAML for kubectl apply."""
    from raft.engines.kubernetes import Shape, rendered

    if not 1 <= members <= MEMBERS_MAX:
        raise BadUsage(f"--members {members}: a cluster has 1 to {MEMBERS_MAX} nodes, best 3 or 5")
    names = {"--name": name, "--namespace": namespace, "--cluster-id": cluster_id}
    for option, value in {**names, **({"--storage-class": storage_class} if storage_class else {})}.items():
        if not _DNS_NAME.fullmatch(value):
            raise BadUsage(f"{option} {value!r}: write small letters, digits and -, 50 at most")
    for option, value in {"--storage": storage, "--memory": memory, "--cpu": cpu}.items():
        if not _QUANTITY.fullmatch(value):
            raise BadUsage(f"{option} {value!r} is no quantity: write 10Gi, 512Mi or 500m")
    if not _WORD.fullmatch(image):
        raise BadUsage(f"--image {image!r}: that is no image")
    shape = Shape(
        name=name, namespace=namespace, cluster=cluster_id, members=members, image=image, storage=storage,
        storage_class=storage_class, memory=memory, cpu=cpu,
    )  # fmt: skip
    out(rendered(shape).rstrip())


@render.command(epilog="Example: launcher.py render containerfile > Containerfile")
def containerfile() -> None:
    """How to build the image for Kubernetes, in the project's directory."""
    from raft.engines.kubernetes import containerfile as text
    from raft.version import VERSION

    out(text(VERSION).rstrip())


def _write(context: typer.Context, files: Mapping[str, str], directory: Path | None) -> None:
    if directory is None:
        out("\n".join(f"# ==> {name} <==\n{text}" for name, text in files.items()).rstrip())
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)
    except OSError as error:
        raise VerbFailed(f"{error.filename} cannot be written: {error.strerror}") from error
    confirm(context, [str(directory / name) for name in files])
