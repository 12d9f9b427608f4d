"""Trains a job on a Spark DataFrame or RDD: servers, if the job wants any, and one worker for each partition."""
from __future__ import annotations

import functools
import json
import os
import re
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Union

from . import partitions, report
from .attempts import failed_attempts, first_failure, partition_of
from .errors import (DataError, FailedAttempt, PartitionFailed, SparkFailed, TrainingFailed, WorkerFailed,
                     last_python_error, spark_reason)
from .frames import Columns, Shown
from .local_python import use_this_python
from .memory import ExecutorMemory, executor_memory_of
from .notebook import shown_progress
from .placement import DRIVER
from .servers import Servers, servers_of
from .shim import RESULT_SCHEMA, Cluster, Result, dataframe_trainer, rdd_trainer
from .slots import DYNAMIC, TOO_FEW, check_slots
from .spark_job import SparkJob
from .supervisor import Job, RunningJob, Supervisor, check_job


_LOOK_S = 0.1     # how often a wait lets a signal through
_SPEAK_S = 15.0   # how long the tasks have to say why, once ps-run has failed
_BRING_S = 60.0   # how long Spark may take to bring the results, once ps-run has ended well
_STALL_S = 300.0  # how long a worker that is not waiting for others may take no data
_SPARK_SAYS = {"SPARK-24819": TOO_FEW, "SPARK-24942": DYNAMIC}
_BEGIN_AGAIN = "where the shards live in the workers, a lost one takes its share along: the job has to begin again"
_NO_PACKAGE = ("the executors' Python has no package downpour: install the wheel there, or point PYSPARK_PYTHON to a Python"
               " that has it")


class Programs(NamedTuple):
    """Paths of the native programs, where those in the package are not wanted. `worker` is one on the executors, and so is
    `server`, for servers that are tasks."""
    run: Optional[str] = None
    worker: Optional[str] = None
    server: Optional[str] = None


class TrainingResult(NamedTuple):
    """What a training run left: its folder, its summary.json, what each partition's worker did, and the tries that
    failed before others went on where they had got to."""
    run_dir: str
    summary: Dict[str, Any]
    partitions: List[Result]
    retries: List[FailedAttempt] = []

    def __repr__(self) -> str:
        return report.text("TrainingResult", self.summary, self.run_dir)

    def _repr_html_(self) -> str:
        return report.html_text("TrainingResult", self.summary, self.run_dir)


def train(df, job: Union[str, Job], *, features_col: Union[str, Sequence[str]] = "features", label_col: str = "label",
          weight_col: Optional[str] = None, validation_indicator_col: Optional[str] = None,
          repartition_random_shuffle: bool = False, servers: Union[str, Sequence[str]] = DRIVER,
          run_dir: Optional[str] = None, programs: Programs = Programs()) -> TrainingResult:
    """Trains on a DataFrame, one worker for each partition.

    Args:
      df: the rows.
      job: path of the job file, or what check_job made of it.
      features_col: of bytes, one a value, of arrays of numbers or of vectors; or a list of columns of numbers.
      label_col: a class, counted from 0, or where the net's loss takes numbers a number.
      weight_col: how much a row counts, at least 0; a row of weight 2 counts as two. None for all alike.
      validation_indicator_col: a boolean, true for rows that are not trained on but measured after each epoch.
      repartition_random_shuffle: deal the rows out to the workers as if at random, so that each of them sees what all rows
        are like, however they are sorted. Otherwise a worker has a partition as it is, and only where there are not as many
        partitions as the job has `workers` are rows dealt out, in turn.
      servers: where the parameters live. "driver": ps-servers that are started on this host for the length of the run.
        "tasks": as many as the job has servers.addresses, each in a Spark task of its own, which keeps a slot. "running":
        ps-servers that run at the job's servers.addresses already; or a list of other addresses, as a list or separated by
        commas. They must have been started from the same job, for this run, and are left running.
      run_dir: folder of the run; by default a new one under the job's run.dir.
      programs: the native programs to use.

    Raises DataError for columns that cannot be trained on, WorkerFailed for the first worker that failed, and
    TrainingFailed, which both are too, for anything else that kept the job from ending well. Whatever ends it, Ctrl-C
    included, the servers and workers end with it.
    """
    checked = job if isinstance(job, Job) else check_job(job, programs.run)
    shown = Columns(features_col if isinstance(features_col, str) else ", ".join(features_col), label_col, weight_col,
                    validation_indicator_col)
    rows = df.select(*_expressions(df, features_col, shown))
    by_user = _as_users_write(df, features_col, shown)
    names = Columns("features", *(own if name is not None else None for own, name in zip(Columns._fields[1:], shown[1:])))
    if _floats_with_the_scale_of_bytes(rows, checked):
        print("The features are floats, and the job multiplies them by data.scale, 1/256, which is for bytes: set"
              " data: {scale: 1} unless they lie between 0 and 255.")
    if repartition_random_shuffle:
        rows = partitions.dealt(rows, checked.workers)
    else:
        rows = partitions.as_many_as(rows, checked.workers, partitions.count(df))

    def start(cluster, rows):
        trained = rows.mapInArrow(dataframe_trainer(cluster, names, by_user), RESULT_SCHEMA, barrier=cluster.strong)
        if _may_be_tried_again(df.sparkSession, cluster):
            trained = trained.repartition(1)
        return [Result.from_event(row.partition, json.loads(row.done)) for row in trained.collect()]
    start = functools.partial(_shuffled_if_need_be, start, rows)
    return _run(df.sparkSession, checked, servers, run_dir, programs, start)


def train_on_rdd(rdd, job: str, *, servers: Union[str, Sequence[str]] = DRIVER, run_dir: Optional[str] = None,
                 programs: Programs = Programs()) -> TrainingResult:
    """Trains on an RDD of pairs (features, label); otherwise as `train`.

    features: bytes, a numpy array of uint8, float32 or float64, or a sequence of floats. The rows stay in their partitions,
    unless these are not as many as the job has workers.
    """
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    checked = check_job(job, programs.run)
    rdd = partitions.as_many_as(rdd, checked.workers, rdd.getNumPartitions())

    def start(cluster, rdd):
        source = rdd.barrier() if cluster.strong else rdd
        trained = source.mapPartitions(rdd_trainer(cluster))
        if _may_be_tried_again(spark, cluster):
            trained = trained.repartition(1)
        return trained.collect()
    start = functools.partial(_shuffled_if_need_be, start, rdd)
    return _run(spark, checked, servers, run_dir, programs, start)


def _shuffled_if_need_be(start: Callable[[Cluster, Any], List[Result]], rows, cluster: Cluster) -> List[Result]:
    """Starts the workers on a DataFrame or an RDD; where Spark says that what made it, such as coalesce or union, can't
    stand in one barrier stage with them, which it says before any task runs, on the same rows after a shuffle."""
    try:
        return start(cluster, rows)
    except Exception as error:
        if not cluster.strong or "SPARK-24820" not in str(error):
            raise
    print("The data is repartitioned: what it was made by, such as coalesce or union, can't be part of a barrier stage.")
    return start(cluster, partitions.dealt(rows, cluster.workers))


def _expressions(df, features_col: Union[str, Sequence[str]], shown: Columns) -> List:
    """What is trained on, by names that any of Spark's functions takes."""
    from . import columns  # not for executors, which have no use for pyspark.ml
    made = {"features": columns.features(df, features_col), "label": columns.label(df, shown.label)}
    if shown.weight is not None:
        made["weight"] = columns.weight(df, shown.weight)
    if shown.held_out is not None:
        made["held_out"] = columns.held_out(df, shown.held_out)
    given = [name for name in shown if name is not None]
    if len(set(given)) < len(given):
        raise DataError("features, label, weight and validation indicator should be different columns, not " + ", ".join(given))
    return [expression.alias(name) for name, expression in made.items()]


def _as_users_write(df, features_col: Union[str, Sequence[str]], shown: Columns) -> Shown:
    from . import columns
    return Shown(shown, columns.features_in_python(df, features_col))


def _run(spark, job: Job, servers: Union[str, Sequence[str]], run_dir: Optional[str], programs: Programs,
         start: Callable[[Cluster], List[Result]]) -> TrainingResult:
    use_this_python(spark)
    if job.strong:
        check_slots(spark, job.workers)
    epochs = job.resolved.get("training", {}).get("epochs", 1)
    with servers_of(spark, job, servers, programs.server) as placed, shown_progress(epochs) as on_event:
        with Supervisor(job.path, run_dir, programs.run, placed.settings, placed.attach, on_event) as supervisor:
            try:
                running = supervisor.wait_started()
            except TrainingFailed as error:  # maybe for a server that has died since it said where it listens
                raise placed.failure(follows=True) or error
            cluster = _cluster(running, job, programs, executor_memory_of(spark), placed.tasks)
            spark_job = SparkJob(spark, lambda: start(cluster))
            try:
                results = _watched(spark_job, supervisor, placed)
            except Exception as error:
                if not supervisor.is_done():  # where it is, only the way back to here has failed
                    cause = _cause(error, spark_job, supervisor, running)
                    raise placed.failure(isinstance(cause, WorkerFailed) and cause.follows) or cause from error
                results = None
            if results is not None and not any(result.samples for result in results):
                raise TrainingFailed("there are no rows to train on")
            if results and _weigh_nothing(results):
                raise TrainingFailed("there is nothing to train on: the rows' weights add up to 0")
            supervisor.wait_finished()
    if placed.stage:
        placed.stage.write_logs(os.path.join(running.run_dir, "logs"))
    summary = supervisor.summary()
    retries = [failure.as_attempt() for failure in failed_attempts(spark_job.failed_tasks(), summary, running.strong)]
    for retry in retries:
        print("An attempt failed, and another went on where it had got to: %s" % (retry,))
    return TrainingResult(running.run_dir, summary, _complete(results or [], summary), retries)


def _may_be_tried_again(spark, cluster: Cluster) -> bool:
    """Whether the workers' stage is to be a barrier that Spark runs again when it fails: one that another comes after.

    Spark gives up a job whose last stage is a barrier that failed, and any other barrier only after some tries, even
    where, as in local[N], it tries no task again.
    """
    from pyspark.sql.utils import is_remote
    if not cluster.strong or cluster.rendezvous:
        return False
    return is_remote() or not re.fullmatch(r"local(\[[^,]*\])?", spark.sparkContext.master)


def _cluster(running: RunningJob, job: Job, programs: Programs, memory: Optional[ExecutorMemory],
             server_tasks: int) -> Cluster:
    with open(running.job_file, encoding="utf-8") as file:
        text = file.read()
    stall_timeout_s = _STALL_S
    if running.rendezvous:  # a worker takes no data before all have met
        stall_timeout_s += job.resolved["sync"].get("join_timeout_ms", 0) / 1000
    return Cluster(servers=running.servers, job_text=text, row_values=job.row_values, workers=job.workers,
                   strong=running.strong, logs=os.path.join(running.run_dir, "logs"), program=programs.worker,
                   rendezvous=running.rendezvous, stall_timeout_s=stall_timeout_s, memory=memory,
                   tasks=job.workers + server_tasks)


def _watched(job: SparkJob, supervisor: Supervisor, placed: Servers) -> Optional[List[Result]]:
    """The workers' results; None where Spark does not bring them, though ps-run says that all has been done.

    Cancels the job if this thread is interrupted, or if ps-run or a server that is a task fails and the workers do not say
    why.
    """
    ended = failure = None
    try:
        while not job.wait(_LOOK_S):
            failure = failure or placed.failure() or supervisor.failure()
            if ended is None and (failure is not None or supervisor.has_ended()):
                ended = time.monotonic()
            waited = 0.0 if ended is None else time.monotonic() - ended
            if failure is not None and waited > _SPEAK_S:
                raise failure
            if failure is None and waited > _BRING_S:
                job.cancel()
                return None
    except BaseException:
        job.cancel()
        raise
    return job.result()


def _cause(error: Exception, job: SparkJob, supervisor: Supervisor, running: RunningJob) -> TrainingFailed:
    """The root of a failed Spark job, out of a stack trace of a hundred lines."""
    text = str(error)
    last = _last_failure(error, text, supervisor)
    supervisor.stop(str(last))  # whose summary then says what the servers know
    attempts = failed_attempts(job.failed_tasks(), supervisor.summary(), running.strong)
    partition = last.partition if isinstance(last, WorkerFailed) else partition_of(text)
    failure = first_failure(last, attempts, partition, running.strong, os.path.join(running.run_dir, "logs"))
    if running.rendezvous and isinstance(failure, WorkerFailed) and failure.avoidable:
        return failure.with_hint(_BEGIN_AGAIN)
    return failure


def _last_failure(error: Exception, text: str, supervisor: Supervisor) -> TrainingFailed:
    """What Spark gave up for."""
    failure = WorkerFailed.from_text(text)
    if failure is not None:
        return failure
    if isinstance(error, TrainingFailed):
        return error
    if isinstance(error, ConnectionError) or type(error).__name__ == "Py4JNetworkError":
        return SparkFailed("the driver's JVM has ended, and all of Spark with it: where it ran out of memory, raise"
                           " spark.driver.memory")
    ended = supervisor.failure()
    if ended is not None:
        return ended
    python_error = last_python_error(text)
    if python_error and "No module named 'downpour'" in python_error:
        return TrainingFailed(_NO_PACKAGE)
    if python_error:
        return PartitionFailed("a partition could not be computed: " + python_error)
    for code, sentence in _SPARK_SAYS.items():
        if code in text:
            return TrainingFailed(sentence)
    return SparkFailed("the Spark job failed: " + spark_reason(error))


def _weigh_nothing(results: List[Result]) -> bool:
    """Whether there were epochs and in none of them a row that counts."""
    epochs = [epoch for result in results for epoch in result.epochs]
    return bool(epochs) and not any(epoch.train for epoch in epochs)


def _complete(results: List[Result], summary: Dict[str, Any]) -> List[Result]:
    """What all workers did: of those that Spark has no result of, as the servers know it."""
    known = {result.partition for result in results}
    missing = [Result.from_event(worker["partition"], {**worker, "seconds": worker["seconds"] or 0.0})
               for worker in summary.get("workers", ()) if worker["partition"] not in known]
    return sorted(results + missing)


def _floats_with_the_scale_of_bytes(rows, job: Job) -> bool:
    from pyspark.sql.types import ArrayType
    return isinstance(rows.schema["features"].dataType, ArrayType) and job.resolved["data"].get("scale") == 1 / 256
