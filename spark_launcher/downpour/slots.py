"""How many tasks Spark runs at once, and whether all workers of a strong job can, found out before anything is started.

Spark checks that by itself when the job comes to it, but says no only after 40 tries of 15 s
(spark.scheduler.barrier.maxConcurrentTasksCheck), with the servers up all that time.
"""
from __future__ import annotations

import re
import time
from typing import Optional

from .errors import TrainingFailed
from .spark_job import SparkJob

EXECUTORS_S = 30.0  # how long executors that are on their way are waited for
_PROBE_S = 120.0    # how long a stage that does nothing may take to find its slots
_LOOK_S = 0.2

TOO_FEW = ("the job's sync mode is strong, so all partitions run at once, and Spark has fewer slots than the job has"
           " workers: give it more cores, or the job fewer workers")
DYNAMIC = ("the job's sync mode is strong, so all partitions run at once, as a barrier stage, which Spark refuses with"
           " dynamic allocation: set spark.dynamicAllocation.enabled=false and as many executors as it takes, or choose"
           " a weak sync mode, such as downpour, whose partitions may come in waves")


def concurrent_tasks(spark) -> Optional[int]:
    """How many tasks of the default resource profile fit Spark's executors now; None where that can't be seen, as through
    Spark Connect."""
    from pyspark.sql.utils import is_remote
    if is_remote():
        return None
    context = spark.sparkContext._jsc.sc()  # what the barrier scheduler itself goes by; Python has no name for it
    try:
        return int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))
    except Exception:  # another Spark: its own check remains
        return None


def wait_for_tasks(spark, wanted: int, timeout_s: float) -> Optional[int]:
    """As concurrent_tasks, once it is at least `wanted` or the time is over: executors may still be on their way."""
    deadline = time.monotonic() + (0.0 if _local_threads(spark) else timeout_s)
    while True:
        fit = concurrent_tasks(spark)
        if fit is None or fit >= wanted or time.monotonic() > deadline:
            return fit
        time.sleep(_LOOK_S)


def is_dynamic(spark) -> bool:
    """Whether executors come and go as Spark sees fit, so that it refuses barrier stages."""
    return (_local_threads(spark) is None
            and spark.conf.get("spark.dynamicAllocation.enabled", "false").lower() == "true")


def check_slots(spark, workers: int) -> None:
    """Raises TrainingFailed where Spark can't run so many tasks at once. Waits for executors that may be on their way,
    and says so."""
    from pyspark.sql.utils import is_remote
    local = _local_threads(spark)
    if is_dynamic(spark):
        raise TrainingFailed(DYNAMIC)
    if is_remote():
        if local is None:
            _probe(spark, workers)
        elif local and local < workers:
            raise TrainingFailed(TOO_FEW)
        return
    slots = concurrent_tasks(spark)
    if slots is None or slots >= workers:
        return
    if not local:
        print("The job's %d workers run all at once, and Spark has %d slots so far: waiting up to %g s for executors."
              % (workers, slots, EXECUTORS_S))
        slots = wait_for_tasks(spark, workers, EXECUTORS_S) or 0
    if slots < workers:
        raise TrainingFailed("%s (%d slots, %d workers)" % (TOO_FEW, slots, workers))


def _local_threads(spark) -> Optional[float]:
    """How many threads a local Spark has, infinity where its host decides; None for a cluster."""
    threads = re.match(r"local(?:$|\[(\d+|\*))", spark.conf.get("spark.master", ""))
    if threads is None:
        return None
    return float("inf") if threads.group(1) == "*" else int(threads.group(1) or 1)


def _probe(spark, workers: int) -> None:
    """Runs a barrier stage of so many tasks that do nothing: through Connect there is no other way to know."""
    def nothing(batches):
        for _ in batches:
            pass
        return iter(())
    frame = spark.range(0, workers, 1, workers).mapInArrow(nothing, "id long", barrier=True)
    job = SparkJob(spark, frame.collect)
    try:
        if not job.wait(_PROBE_S):
            raise TrainingFailed("%s, or they are in use: a stage of %d tasks that do nothing did not get to run at"
                                 " once within %g s" % (TOO_FEW, workers, _PROBE_S))
        job.result()
    except BaseException:
        job.cancel()
        raise
