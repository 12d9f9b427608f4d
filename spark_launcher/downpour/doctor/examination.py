"""Runs the probes on a cluster, and has the checks judge what they found."""
from __future__ import annotations

import json
import time
from typing import Dict, List, Optional, Sequence, Union

from ..errors import TrainingFailed, last_python_error, spark_reason
from ..local_python import use_this_python
from ..placement import DRIVER, RUNNING, TASKS, driver_host, join_address, place
from ..slots import wait_for_tasks
from ..supervisor import Job, check_job
from ..version import VERSION
from . import checks, probe
from .checks import State, Verdict
from .facts import Driver, Probe, Wanted
from .listener import listening
from .report import Report

# What the checks go by: Spark Connect gives a setting only to who names it.
_SETTINGS = ("spark.master", "spark.dynamicAllocation.enabled", "spark.task.cpus", "spark.task.resource.gpu.amount",
             "spark.executor.cores", "spark.executor.memory", "spark.executor.memoryOverhead",
             "spark.executor.memoryOverheadFactor", "spark.executor.minMemoryOverhead", "spark.executor.pyspark.memory",
             "spark.kubernetes.memoryOverheadFactor")
_HOLD_S = 1.0
_HOLD_UNSEEN_S = 4.0  # where only the probes can tell how many tasks run at once


def examine(spark, job: Optional[str] = None, *, workers: Optional[int] = None,
            servers: Union[str, Sequence[str]] = DRIVER, worker_program: Optional[str] = None,
            run_program: Optional[str] = None, wait_s: float = 30.0) -> Report:
    """Looks whether a job could be trained on this Spark, by a small Spark job of its own, and says what to do if not.

    Args:
      job: path of the job file; without it the doctor supposes two workers in a weak sync mode.
      workers: in place of the job's.
      servers: where they are to run, as `downpour.train` takes it.
      worker_program, run_program: paths of ps-worker on the executors and of ps-run here; None for the package's.
      wait_s: how long executors may take to come.

    Raises TrainingFailed if the job file is wrong or the probes could not run.
    """
    use_this_python(spark)
    checked = None
    if job is not None:
        checked = check_job(job, run_program, {} if workers is None else {"workers": workers})
    wanted = _wanted(checked, workers, servers, driver_host(spark))
    slots = wait_for_tasks(spark, wanted.all_tasks, wait_s)
    if slots == 0:
        return Report(checks.slots(wanted, Driver(VERSION, slots=0), []))
    with listening(() if wanted.servers == RUNNING else wanted.addresses) as (open_at, unopened):
        addresses = dict.fromkeys(wanted.addresses, False) if wanted.servers == RUNNING else dict(open_at)
        before = time.time()
        try:
            probes = _probe(spark, wanted, slots, addresses, worker_program)
        except Exception as error:
            seen = checks.slots(wanted, Driver(VERSION, slots=slots), []) if slots else []
            return Report([*seen, _verdict_of(error)])
        driver = Driver(VERSION, _master(spark), _conf(spark), slots, unopened, before, time.time())
    return Report(checks.examine(wanted, driver, probes))


def _wanted(job: Optional[Job], workers: Optional[int], servers, host: Optional[str]) -> Wanted:
    own = job.resolved["servers"]["addresses"] if job else ["127.0.0.1:0"]
    placed = place(servers, own, host, job.peers if job else False)
    wanted = Wanted(workers=workers or 2, servers=placed.kind, addresses=placed.addresses, server_count=len(own))
    if placed.kind == TASKS:  # they say to the driver where they listen
        wanted = wanted._replace(addresses=(join_address(host or "127.0.0.1", 0),))
    if job is None:
        return wanted
    if job.peers:  # where workers meet
        wanted = wanted._replace(addresses=(placed.addresses[0].rpartition(":")[0] + ":0",))
    return wanted._replace(workers=job.workers, strong=job.strong, peers=job.peers,
                           device=job.resolved["worker"]["device"])


def _probe(spark, wanted: Wanted, slots: Optional[int], addresses: Dict[str, bool], program: Optional[str]) -> List[Probe]:
    from pyspark import cloudpickle
    tasks = wanted.all_tasks if slots is None else max(wanted.tasks, slots)
    task = probe.prober(addresses, _HOLD_UNSEEN_S if slots is None else _HOLD_S, program)
    cloudpickle.register_pickle_by_value(probe)
    try:
        rows = spark.range(0, tasks, 1, tasks).mapInArrow(task, probe.SCHEMA).collect()
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    return [Probe.from_json(json.loads(row.facts)) for row in rows]


def _verdict_of(error: Exception) -> Verdict:
    """What it means that the probes themselves could not run. Raises TrainingFailed where nobody knows."""
    text = str(error)
    said = last_python_error(text) or ""
    if "PYTHON_VERSION_MISMATCH" in text:
        return Verdict("package", "executors", State.FAILS, "another minor version of Python than the driver's",
                       "set PYSPARK_PYTHON, or spark.pyspark.python, to the same one on both")
    if "No module named" in said or "PACKAGE_NOT_INSTALLED" in text or "must be installed" in said:
        return Verdict("package", "executors", State.FAILS, said or "a Python package is missing",
                       "install it for the executors' Python, or point PYSPARK_PYTHON to one that has it")
    if "Cannot run program" in text:
        return Verdict("package", "executors", State.FAILS, text[text.index("Cannot run program"):].splitlines()[0],
                       "set PYSPARK_PYTHON, or spark.pyspark.python, to a Python that executors have")
    raise TrainingFailed("the probes could not run: " + (said or spark_reason(error))) from error


def _master(spark) -> str:
    from pyspark.sql.utils import is_remote
    return "" if is_remote() else spark.sparkContext.master


def _conf(spark) -> Dict[str, str]:
    from pyspark.sql.utils import is_remote
    if not is_remote():
        return dict(spark.sparkContext.getConf().getAll())
    seen = {}
    for key in _SETTINGS:
        value = spark.conf.get(key, "")
        if value:
            seen[key] = value
    return seen

