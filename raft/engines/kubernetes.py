"""Manifests for Kubernetes: one pod for each node, which keeps its name and its volume; and a Containerfile.

Owns the objects and the commands of their containers. Ordinals are ids: pod raft-0 is node 1. Kubernetes
starts a pod again and gives it its volume back; who is a member is changed by hand, see NOTES.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from raft.engines.yaml import document

PORT, METRICS_PORT, USER = 7000, 9100, 1000
HOME: Final = "/home/raft"
NOTES: Final = """\
# The Raft cluster @cluster@ in Kubernetes. Before it is applied:
#   raft-actors keys ./keys --nodes @members@        (`keys add n@next@` for a later node)
#   kubectl create namespace @namespace@
#   kubectl --namespace @namespace@ create secret generic @name@-keys --from-file=./keys
# The first time, nodes make their directories in their volumes. When all are ready, forbid that, so that a
# volume that was lost is noticed, and does not vote as if it had promised nothing:
#   kubectl --namespace @namespace@ set env statefulset/@name@ --containers=node RAFT_FIRST_START=no
# To grow: allow first starts, kubectl scale to one more, then let it in, by a program with an operator key:
#   client.add_member(@next@, "tcp://@name@-@members@.@name@.@namespace@.svc:7000")
#   client.promote_member(@next@)
# To shrink: client.remove_member(HIGHEST), then kubectl scale to one less, then delete its volume claim.
# Never scale first: the pod that is gone would still count in the quorum.
# A volume that is lost for good: remove the member, and add one under a new id, at the end.
"""


class Shape(Struct, frozen=True, kw_only=True):
    """What is asked for."""

    name: str = "raft"
    namespace: str = "default"
    cluster: str = "default"
    members: int = 3
    image: str = "raft-actors:latest"
    storage: str = "10Gi"
    storage_class: str = ""
    memory: str = "1Gi"
    cpu: str = "500m"


def manifests(shape: Shape) -> list[dict[str, Any]]:
    """The objects: headless service, disruption budget, stateful set."""
    return [_service(shape), _budget(shape), _stateful_set(shape)]


def rendered(shape: Shape) -> str:
    """The objects as YAML, with what there is to know at the top."""
    notes = NOTES
    words = {"name": shape.name, "namespace": shape.namespace, "cluster": shape.cluster}
    for word, value in {**words, "members": str(shape.members), "next": str(shape.members + 1)}.items():
        notes = notes.replace(f"@{word}@", value)
    return notes + "".join(f"---\n{document(each)}" for each in manifests(shape))


def node_script(shape: Shape) -> str:
    """What the container of a node runs; the last word is the node itself, so that it gets the signals."""
    host = f"{shape.name}-$((n-1)).{shape.name}.{shape.namespace}.svc"
    own = f"$HOSTNAME.{shape.name}.{shape.namespace}.svc"
    return f"""\
set -eu
id=$(( ${{HOSTNAME##*-}} + 1 ))
{_own_keys("n$id")}
dir=/var/lib/raft/n$id
if [ "$RAFT_FIRST_START" = yes ] && [ ! -e "$dir" ]; then
  raft-actors init --quiet --data-dir "$dir"
fi
if [ "$id" -gt {shape.members} ]; then set -- --join; else set --; fi
for n in {" ".join(map(str, range(1, shape.members + 1)))}; do
  [ "$n" = "$id" ] || set -- "$@" --peer "$n=tcp://{host}:{PORT}"
done
exec python3 -m raft.node --existing --id "$id" --cluster {shape.cluster} --data-dir "$dir" \\
  --listen tcp://0.0.0.0:{PORT} --advertise "tcp://{own}:{PORT}" \\
  --keys "$HOME/keys/n$id.toml" "$@"
"""


def exporter_script(shape: Shape) -> str:
    """What the container beside a node runs: it asks this node alone, for Prometheus and the probes."""
    return f"""\
set -eu
id=$(( ${{HOSTNAME##*-}} + 1 ))
{_own_keys("n$id")}
exec raft-actors metrics --listen 0.0.0.0:{METRICS_PORT} --cluster-id {shape.cluster} \\
  --endpoints "$id=tcp://127.0.0.1:{PORT}" --keys "$HOME/keys/n$id.toml"
"""


def hand_over_script(shape: Shape) -> str:
    """What runs before a node is stopped: if it leads, another one does afterwards."""
    return f"""\
id=$(( ${{HOSTNAME##*-}} + 1 ))
export RAFT_ENDPOINTS="$id=tcp://127.0.0.1:{PORT}" RAFT_CLUSTER_ID={shape.cluster}
export RAFT_KEYS="$HOME/keys/n$id.toml"
if [ "$(raft-actors leader)" = "$id" ]; then raft-actors step-down; fi
"""


def _own_keys(name: str) -> str:
    # Secrets are mounted readable for a group, and a key that others can read is refused.
    return (
        f'mkdir -p -m 700 "$HOME/keys"\ncp "/keys/{name}.toml" /keys/allowed.toml "$HOME/keys/"\n'
        'chmod 600 "$HOME"/keys/*'
    )


def _labels(shape: Shape) -> dict[str, str]:
    return {"app.kubernetes.io/name": "raft-actors", "app.kubernetes.io/instance": shape.name}


def _head(shape: Shape, version: str, kind: str) -> dict[str, Any]:
    metadata = {"name": shape.name, "namespace": shape.namespace, "labels": _labels(shape)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _service(shape: Shape) -> dict[str, Any]:
    ports = [{"name": "raft", "port": PORT}, {"name": "metrics", "port": METRICS_PORT}]
    spec = {
        "clusterIP": "None",
        # Members find each other before any of them is ready.
        "publishNotReadyAddresses": True,
        "selector": _labels(shape),
        "ports": ports,
    }
    return {**_head(shape, "v1", "Service"), "spec": spec}


def _budget(shape: Shape) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _labels(shape)}}
    return {**_head(shape, "policy/v1", "PodDisruptionBudget"), "spec": spec}


def _stateful_set(shape: Shape) -> dict[str, Any]:
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": shape.storage}},
    }
    if shape.storage_class:
        claim["storageClassName"] = shape.storage_class
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)}
    spec = {
        "serviceName": shape.name,
        "replicas": shape.members,
        # A new cluster is ready when a majority is there, so pods do not wait for each other.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "selector": {"matchLabels": _labels(shape)},
        "template": {
            "metadata": {"labels": _labels(shape), "annotations": annotations},
            "spec": _pod(shape),
        },
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    return {**_head(shape, "apps/v1", "StatefulSet"), "spec": spec}


def _pod(shape: Shape) -> dict[str, Any]:
    apart = {
        "labelSelector": {"matchLabels": _labels(shape)},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {
        "terminationGracePeriodSeconds": 60,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "containers": list(_containers(shape)),
        "volumes": [{"name": "keys", "secret": {"secretName": f"{shape.name}-keys"}}],
    }


def _containers(shape: Shape) -> Iterator[dict[str, Any]]:
    keys = {"name": "keys", "mountPath": "/keys", "readOnly": True}
    limited = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    yield {
        "name": "node",
        "image": shape.image,
        "command": ["/bin/sh", "-c", node_script(shape)],
        "env": [{"name": "RAFT_FIRST_START", "value": "yes"}, {"name": "HOME", "value": HOME}],
        "ports": [{"name": "raft", "containerPort": PORT}],
        "resources": {
            "requests": {"cpu": shape.cpu, "memory": shape.memory},
            "limits": {"memory": shape.memory},
        },
        "securityContext": limited,
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/raft"}, keys],
        # A node that recovers a long log, or a hung one: told apart by patience.
        "startupProbe": _probe("/livez", period_seconds=5, failures=120),
        "livenessProbe": _probe("/livez", period_seconds=10, failures=6),
        "readinessProbe": _probe("/readyz", period_seconds=5, failures=2),
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", hand_over_script(shape)]}}},
    }
    yield {
        "name": "metrics",
        "image": shape.image,
        "command": ["/bin/sh", "-c", exporter_script(shape)],
        "env": [{"name": "HOME", "value": HOME}],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": limited,
        "volumeMounts": [keys],
    }


def _probe(path: str, *, period_seconds: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": METRICS_PORT},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def containerfile(version: str) -> str:
    """How the image is built, from the project's directory or a wheel beside it."""
    return f"""\
# podman build -t raft-actors:{version} .    (or docker build -f Containerfile)
FROM docker.io/library/python:3.12-slim
RUN groupadd --gid {USER} raft && useradd --uid {USER} --gid {USER} --create-home --home-dir {HOME} raft \\
    && chmod 700 {HOME} && mkdir -p /var/lib/raft && chown raft:raft /var/lib/raft
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir . && rm -rf /src/*
ENV PYTHONUNBUFFERED=1
USER raft
WORKDIR {HOME}
EXPOSE {PORT} {METRICS_PORT}
# What a pod runs is in the manifest; alone, the image shows how a node is started.
CMD ["python3", "-m", "raft.node", "--help"]
"""
