"""What the doctor has seen, as plain values: what it is to look at, and what each probe found."""
from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Tuple


class Wanted(NamedTuple):
    """What the job wants of the cluster.

    peers: the shards live in the workers, who meet on the driver's host. servers: "driver", "running" or "tasks", as
    `downpour.train` takes them. addresses: what executors must reach: the servers, or the driver where these are tasks.
    server_count: how many servers there are.
    """
    workers: int = 2
    strong: bool = False
    peers: bool = False
    device: str = "cpu"
    servers: str = "driver"
    addresses: Tuple[str, ...] = ()
    server_count: int = 1

    @property
    def all_tasks(self) -> int:
        return self.workers + (self.server_count if self.servers == "tasks" else 0)

    @property
    def tasks(self) -> int:
        """How many tasks must run at the same time."""
        return self.all_tasks if self.strong else self.all_tasks - self.workers + 1


class Driver(NamedTuple):
    """What is seen from the driver.

    master: "" where it can't be seen, as through Spark Connect. conf: Spark's settings. slots: how many tasks Spark has
    room for; None where it can't be seen. unopened: by address at which servers are to listen here, why it could not be
    opened. before, after: this clock when the probes were sent and when all had answered.
    """
    version: str
    master: str = ""
    conf: Mapping[str, str] = {}
    slots: Optional[int] = None
    unopened: Mapping[str, str] = {}
    before: float = 0.0
    after: float = 0.0


class Probe(NamedTuple):
    """What one task found on its host. Times are of that host's clock, in seconds since 1970.

    process: which executor's; only to tell two on one host apart. version: the package's, None where there is none.
    program: why ps-worker does not run, "" where it does, None where it was not tried. ports: by address, why it was not
    reached, or "". ahead: seconds by which this clock is ahead of the driver's, None where the driver was not asked.
    cpus: of the host. temporary: where a worker's files go, with free_bytes of room.
    """
    host: str
    process: int = 0
    began: float = 0.0
    ended: float = 0.0
    version: Optional[str] = None
    program: Optional[str] = None
    ports: Mapping[str, str] = {}
    ahead: Optional[float] = None
    gpus: Tuple[str, ...] = ()
    cpus: int = 1
    temporary: str = ""
    free_bytes: int = 0

    @classmethod
    def from_json(cls, values: Dict) -> Probe:
        return cls(**{**values, "gpus": tuple(values["gpus"])})
