"""The servers of one run: placed, and started where they are tasks."""
from __future__ import annotations

import contextlib
import json
from typing import Any, Dict, Iterator, NamedTuple, Optional, Sequence, Union

from .errors import TrainingFailed
from .placement import RUNNING, TASKS, driver_host, place
from .server_stage import ServerStage
from .slots import EXECUTORS_S, is_dynamic, wait_for_tasks
from .supervisor import Job

_NOTICE_S = 5.0  # how long after a worker's loss of a server that one's own end may take to be known


class Servers(NamedTuple):
    """How ps-run comes to the servers.

    settings: keys of the job in place of its own. attach: they run already. stage: whose tasks they are, if they are.
    """
    settings: Dict[str, Any]
    attach: bool = False
    stage: Optional[ServerStage] = None

    @property
    def tasks(self) -> int:
        """How many of Spark's tasks they take."""
        return self.stage.count if self.stage else 0

    def failure(self, follows: bool = False) -> Optional[TrainingFailed]:
        """Why servers that are tasks have ended, if they have. follows: someone says that it has lost one."""
        return self.stage.failure(_NOTICE_S if follows else 0.0) if self.stage else None


@contextlib.contextmanager
def servers_of(spark, job: Job, servers: Union[str, Sequence[str]], program: Optional[str] = None) -> Iterator[Servers]:
    """The servers of a run, for as long as the context lasts. `servers` as `downpour.train` takes it.

    program: path of ps-server on the executors, where servers are tasks. Raises TrainingFailed where they cannot be had.
    """
    own = list(job.resolved.get("servers", {}).get("addresses", ()))
    host = driver_host(spark)
    placed = place(servers, own, host, job.peers)
    if placed.kind == TASKS:
        _check_room(spark, job, len(own))
        with ServerStage(spark, json.dumps(job.resolved), len(own), host or "127.0.0.1", program) as stage:
            listening = stage.wait_started()
            yield Servers({"servers.addresses": [server.address for server in listening],
                           "servers.metrics_addresses": [server.metrics for server in listening]}, True, stage)
        return
    if placed.kind == RUNNING:
        yield Servers({"servers.addresses": list(placed.addresses)}, True)
        return
    if list(placed.addresses) == own:
        yield Servers({})
        return
    print("Executors are on other hosts, so %s on %s, by which they reach this one, and not on loopback." % (
        "the workers meet" if job.peers else "the servers listen", host))
    yield Servers({"servers.addresses": list(placed.addresses)})


def _check_room(spark, job: Job, servers: int) -> None:
    """Refuses tasks for servers and workers that could never run at the same time."""
    if is_dynamic(spark):
        raise TrainingFailed("servers='tasks' needs a barrier stage, which dynamic allocation refuses: set"
                             " spark.dynamicAllocation.enabled=false, or let the servers run elsewhere")
    workers = job.workers if job.strong else 1
    fit = wait_for_tasks(spark, servers + workers, EXECUTORS_S)
    if fit is not None and fit < servers + workers:
        raise TrainingFailed("servers='tasks': %d servers and %d of %d workers must run at the same time, and Spark has %d"
                             " slots: give it more cores, or the job fewer workers or servers.addresses"
                             % (servers, workers, job.workers, fit))
