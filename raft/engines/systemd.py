"""Units for systemd: one template for the nodes of a cluster, an environment file for each, and the exporter.

Owns their text. Which exit codes forbid a restart is the node's table (raft.node.process.exit_codes).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from raft.node.process.exit_codes import RESTART_IS_OF_NO_USE

UNIT, EXPORTER_UNIT = "raft@.service", "raft-metrics.service"
HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0077
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


class Hosts(Struct, frozen=True, kw_only=True):
    """Nodes by id, and where each listens; and where things are on their hosts."""

    members: Mapping[int, str]
    cluster: str = "default"
    python: str = "/usr/bin/python3"
    keys_dir: str = "/etc/raft/keys"  # "" for nodes without keys, which hear their own host only.
    data_dir: str = "/var/lib/raft"
    user: str = "raft"
    metrics: str = "127.0.0.1:9100"


def files(hosts: Hosts) -> dict[str, str]:
    """All files by name: the units belong into /etc/systemd/system, the others into /etc/raft."""
    return {
        UNIT: unit(hosts),
        **{f"{node}.env": environment(hosts, node) for node in hosts.members},
        EXPORTER_UNIT: exporter_unit(hosts),
    }


def unit(hosts: Hosts) -> str:
    """The template of all nodes: `systemctl enable --now raft@1` on the host of node 1."""
    keys = f" --keys {hosts.keys_dir}/n%i.toml" if hosts.keys_dir else ""
    codes = " ".join(map(str, sorted(RESTART_IS_OF_NO_USE)))
    return f"""\
# {UNIT}: node %i of the Raft cluster {hosts.cluster}.
# Once, on its host, as user {hosts.user}: raft-actors init --data-dir {hosts.data_dir}/%i
# What differs from node to node is in /etc/raft/%i.env.
[Unit]
Description=Node %i of the Raft cluster {hosts.cluster}
Documentation=https://raft.github.io
Wants=network-online.target
After=network-online.target
# However often it has to be started again, that is for RestartPreventExitStatus to judge.
StartLimitIntervalSec=0

[Service]
Type=notify
User={hosts.user}
EnvironmentFile=/etc/raft/%i.env
ExecStart={hosts.python} -m raft.node --existing --id %i --cluster {hosts.cluster} \\
    --data-dir {hosts.data_dir}/%i --listen ${{RAFT_LISTEN}}{keys} $RAFT_PEERS $RAFT_OPTIONS
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
# Where no other process would fare better; see `python -m raft.node --help`.
RestartPreventExitStatus={codes}
SuccessExitStatus=3
# Ready is who follows a leader and has caught up; the first nodes of a cluster wait for a majority.
TimeoutStartSec=infinity
# SIGTERM hands leadership over.
KillSignal=SIGTERM
TimeoutStopSec=30
LimitNOFILE=65536
OOMScoreAdjust=-500
StateDirectory=raft
StateDirectoryMode=0700
ReadWritePaths={hosts.data_dir}
{HARDENING}
[Install]
WantedBy=multi-user.target
"""


def environment(hosts: Hosts, node: int) -> str:
    """What the unit of one node reads."""
    peers = " ".join(f"--peer {peer}={at}" for peer, at in hosts.members.items() if peer != node)
    return f"RAFT_LISTEN={hosts.members[node]}\nRAFT_PEERS={peers}\nRAFT_OPTIONS=\n"


def exporter_unit(hosts: Hosts) -> str:
    """The exporter, on the host that Prometheus scrapes."""
    endpoints = ",".join(f"{node}={at}" for node, at in hosts.members.items())
    keys = f" --keys {hosts.keys_dir}/metrics.toml" if hosts.keys_dir else ""
    return f"""\
# {EXPORTER_UNIT}: metrics of the Raft cluster {hosts.cluster}, for Prometheus.
# Its key: raft-actors keys add metrics --role reader
[Unit]
Description=Metrics of the Raft cluster {hosts.cluster}
Wants=network-online.target
After=network-online.target

[Service]
User={hosts.user}
ExecStart={hosts.python} -m launcher metrics --listen {hosts.metrics} --cluster-id {hosts.cluster} \\
    --endpoints {endpoints}{keys}
Restart=always
RestartSec=1
{HARDENING}
[Install]
WantedBy=multi-user.target
"""
