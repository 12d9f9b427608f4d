"""Trains a job on a Spark DataFrame or RDD: servers, if the job wants any, and one worker for each partition."""
from __future__ import annotations

import functools
import json
import os
import re
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Union

from . import partitions, report
from .errors import DataError, TrainingFailed, WorkerFailed, last_python_error
from .frames import Columns
from .job_tags import JobTag
from .local_python import use_this_python
from .memory import ExecutorMemory, executor_memory_of
from .notebook import shown_progress
from .placement import DRIVER
from .servers import servers_of
from .shim import RESULT_SCHEMA, Cluster, Result, dataframe_trainer, rdd_trainer
from .supervisor import Job, RunningJob, Supervisor, check_job


_LOOK_S = 0.1     # how often a wait lets a signal through
_CANCEL_S = 10.0  # how long cancelled Spark tasks may take to end
_SPEAK_S = 15.0   # how long the tasks have to say why, once ps-run has failed
_STALL_S = 300.0  # how long a worker that is not waiting for others may take no data
_TOO_FEW_SLOTS = ("the job's sync mode is strong, so all partitions run at once, and Spark has fewer slots than the job"
                  " has workers: give it more cores, or the job fewer workers")
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
    """What a training run left: its folder, its summary.json, and what each partition's worker did."""
    run_dir: str
    summary: Dict[str, Any]
    partitions: List[Result]

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
    names = Columns(features_col if isinstance(features_col, str) else "features", label_col, weight_col,
                    validation_indicator_col)
    rows = df.select(*_expressions(df, features_col, names))
    if _floats_with_the_scale_of_bytes(rows, names.features, checked):
        print("The features are floats, and the job multiplies them by data.scale, 1/256, which is for bytes: set"
              " data: {scale: 1} unless they lie between 0 and 255.")
    if repartition_random_shuffle:
        rows = partitions.dealt(rows, checked.workers)
    else:
        rows = partitions.as_many_as(rows, checked.workers, partitions.count(df))

    def start(cluster, rows):
        trained = rows.mapInArrow(dataframe_trainer(cluster, names), RESULT_SCHEMA, barrier=cluster.strong)
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
    return start(cluster, rows.repartition(cluster.workers))


def _expressions(df, features_col: Union[str, Sequence[str]], names: Columns) -> List:
    from . import columns  # not for executors, which have no use for pyspark.ml
    found = [columns.features(df, features_col).alias(names.features), columns.label(df, names.label).alias(names.label)]
    if names.weight is not None:
        found.append(columns.weight(df, names.weight).alias(names.weight))
    if names.held_out is not None:
        found.append(columns.held_out(df, names.held_out).alias(names.held_out))
    given = [name for name in names if name is not None]
    if len(set(given)) < len(given):
        raise DataError("features, label, weight and validation indicator should be different columns, not " + ", ".join(given))
    return found


def _run(spark, job: Job, servers: Union[str, Sequence[str]], run_dir: Optional[str], programs: Programs,
         start: Callable[[Cluster], List[Result]]) -> TrainingResult:
    use_this_python(spark)
    epochs = job.resolved.get("training", {}).get("epochs", 1)
    with servers_of(spark, job, servers, programs.server) as placed, shown_progress(epochs) as on_event:
        with Supervisor(job.path, run_dir, programs.run, placed.settings, placed.attach, on_event) as supervisor:
            running = supervisor.wait_started()
            if running.strong:
                _check_slots(spark, job)
            cluster = _cluster(running, job, programs, executor_memory_of(spark))

            def failure():
                return placed.failure() or supervisor.failure()
            try:
                results = _in_cancellable_job(spark, lambda: start(cluster), failure)
            except Exception as error:
                cause = _cause(error, supervisor, running)
                raise placed.failure(isinstance(cause, WorkerFailed) and cause.follows) or cause from error
            if not any(result.samples for result in results):
                raise TrainingFailed("there are no rows to train on")
            supervisor.wait_finished()
    if placed.stage:
        placed.stage.write_logs(os.path.join(running.run_dir, "logs"))
    with open(os.path.join(running.run_dir, "summary.json"), encoding="utf-8") as file:
        summary = json.load(file)
    return TrainingResult(running.run_dir, summary, sorted(results))


def _may_be_tried_again(spark, cluster: Cluster) -> bool:
    """Whether the workers' stage is to be a barrier that Spark runs again when it fails: one that another comes after.

    Spark gives up a job whose last stage is a barrier that failed, and any other barrier only after some tries, even
    where, as in local[N], it tries no task again.
    """
    from pyspark.sql.utils import is_remote
    if not cluster.strong or cluster.rendezvous:
        return False
    return is_remote() or not re.fullmatch(r"local(\[[^,]*\])?", spark.sparkContext.master)


def _cluster(running: RunningJob, job: Job, programs: Programs, memory: Optional[ExecutorMemory]) -> Cluster:
    with open(running.job_file, encoding="utf-8") as file:
        text = file.read()
    stall_timeout_s = _STALL_S
    if running.rendezvous:  # a worker takes no data before all have met
        stall_timeout_s += job.resolved["sync"].get("join_timeout_ms", 0) / 1000
    return Cluster(servers=running.servers, job_text=text, row_values=job.row_values, workers=job.workers,
                   strong=running.strong, logs=os.path.join(running.run_dir, "logs"), program=programs.worker,
                   rendezvous=running.rendezvous, stall_timeout_s=stall_timeout_s, memory=memory)


def _in_cancellable_job(spark, action: Callable[[], Any], failure: Callable[[], Optional[TrainingFailed]]) -> Any:
    """Runs an action; cancels the Spark jobs that it started, and no others, if this thread is interrupted, or if there
    is a failure beside it and the tasks do not say why.

    The action has a thread of its own: an interrupt within a call to the JVM would leave that connection unusable.
    """
    tag = JobTag(spark)
    outcome = []  # one function, which gives the result or raises the error

    def run():
        try:
            with tag.tagged():
                result = action()
            outcome.append(lambda: result)
        except BaseException as error:
            outcome.append(functools.partial(_raise, error))

    thread = threading.Thread(target=run, name=tag.name, daemon=True)
    thread.start()
    failed, failed_at = None, 0.0
    try:
        while thread.is_alive():
            thread.join(_LOOK_S)
            if failed is None:
                failed, failed_at = failure(), time.monotonic()
            elif thread.is_alive() and time.monotonic() - failed_at > _SPEAK_S:
                raise failed
    except BaseException:
        tag.cancel()
        thread.join(_CANCEL_S)
        raise
    return outcome[0]()


def _raise(error: BaseException):
    raise error


def _cause(error: Exception, supervisor: Supervisor, running: RunningJob) -> TrainingFailed:
    """The root of a failed Spark job, out of a stack trace of a hundred lines."""
    text = str(error)
    failure = WorkerFailed.from_text(text)
    if failure is not None:
        return failure.with_hint(_BEGIN_AGAIN) if running.rendezvous and failure.avoidable else failure
    if isinstance(error, TrainingFailed):
        return error
    ended = supervisor.failure()
    if ended is not None:
        return ended
    python_error = last_python_error(text)
    if python_error and "No module named 'downpour'" in python_error:
        return TrainingFailed(_NO_PACKAGE)
    if python_error:
        return TrainingFailed("a partition could not be computed: " + python_error)
    if "SPARK-24819" in text:
        return TrainingFailed(_TOO_FEW_SLOTS)
    lines = [line for line in text.splitlines() if line.strip()]
    return TrainingFailed("the Spark job failed: " + (lines[0] if lines else type(error).__name__))


def _check_slots(spark, job: Job) -> None:
    """Refuses a strong job that a local Spark can never run; Spark itself says so only after ten minutes.

    On a cluster more executors may be on their way, so there it is left to Spark.
    """
    from pyspark.sql.utils import is_remote
    if is_remote():
        return
    context = spark.sparkContext
    configured = context.getConf()
    if re.match(r"local(\[|$)", context.master) and not configured.contains("spark.default.parallelism"):
        if context.defaultParallelism // int(configured.get("spark.task.cpus", "1")) < job.workers:
            raise TrainingFailed(_TOO_FEW_SLOTS)


def _floats_with_the_scale_of_bytes(rows, features_col: str, job: Job) -> bool:
    from pyspark.sql.types import ArrayType
    return isinstance(rows.schema[features_col].dataType, ArrayType) and job.resolved["data"].get("scale") == 1 / 256
