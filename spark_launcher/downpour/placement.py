"""Where a job's parameter servers run: on the driver's host, where they run already, or as tasks of Spark."""
from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple, Optional, Tuple, Union

from .errors import TrainingFailed

DRIVER = "driver"
RUNNING = "running"
TASKS = "tasks"


class Placement(NamedTuple):
    """kind: DRIVER, RUNNING or TASKS. addresses: host:port of each server, in place of the job's servers.addresses."""
    kind: str
    addresses: Tuple[str, ...]


def place(servers: Union[str, Sequence[str]], of_job: Sequence[str], host: Optional[str],
          peers: bool = False) -> Placement:
    """Where the servers of a job run.

    servers: "driver", "running" (at the job's own addresses) or "tasks"; or the addresses of those that run, as a list
    or separated by commas. of_job: the job's servers.addresses. host: what driver_host() gives; it stands in for
    loopback, to which the job's addresses default. peers: the shards live in the workers, and only the place where these
    meet is looked for.

    Raises TrainingFailed for what is none of these.
    """
    if peers and servers != DRIVER:
        raise TrainingFailed("servers=%r: with this sync.mode there are none, the workers hold the parameters" % (servers,))
    if isinstance(servers, str) and ":" in servers:
        servers = servers.split(",")
    if not isinstance(servers, str):
        if not isinstance(servers, Sequence) or not all(isinstance(address, str) for address in servers):
            raise TrainingFailed("servers=%r: it should be a word or a list of addresses" % (servers,))
        return _running([address.strip() for address in servers], "servers")
    if servers == DRIVER:
        return Placement(DRIVER, tuple(_on(host, address) for address in of_job))
    if servers == RUNNING:
        return _running(of_job, "the job's servers.addresses")
    if servers == TASKS:
        return Placement(TASKS, tuple(of_job))
    raise TrainingFailed("servers='%s': it should be driver, running or tasks, or the addresses of servers that run, such"
                         " as node1:7100,node2:7100" % servers)


def driver_host(spark) -> Optional[str]:
    """The address by which executors on other hosts reach this one; None where all are on this host."""
    from pyspark.sql.utils import is_remote
    if is_remote():
        host = spark.client.host
        return None if is_loopback(host) else _own_address_towards(host)
    context = spark.sparkContext
    host = context.getConf().get("spark.driver.host") or ""
    if re.match(r"local(-cluster)?(\[|$)", context.master) or is_loopback(host):
        return None
    return host


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def split_address(address: str) -> Tuple[str, int]:
    """Host, without brackets, and port of host:port. ValueError where it is something else."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    return ("[%s]:%d" if ":" in host.strip("[]") else "%s:%d") % (host.strip("[]"), port)


def _on(host: Optional[str], address: str) -> str:
    own, _, port = address.rpartition(":")
    return join_address(host, int(port)) if host and is_loopback(own) else address


def _running(addresses: Sequence[str], where: str) -> Placement:
    for address in addresses:
        if not re.fullmatch(r"unix:.+|(\[[^\]]+\]|[^:/\[\]]+):\d+", address):
            raise TrainingFailed("%s: '%s' should be host:port, such as node1:7100" % (where, address))
        if address.endswith(":0"):
            raise TrainingFailed("%s: %s names no port, and servers that run already have one: what ps-server --listen, or"
                                 " the job that they were started with, says" % (where, address))
    return Placement(RUNNING, tuple(addresses))


def _own_address_towards(host: str) -> str:
    """This host's address on the way to another; nothing is sent."""
    family, _, _, _, target = socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return probe.getsockname()[0]
