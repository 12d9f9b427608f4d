"""The function that runs inside a Spark task: it starts a worker, feeds it the partition and returns its result.

Task attempts: Spark does not tell Python which attempt of its stage a task belongs to. Its task attempt id, which
grows with each try in the whole application, orders the tries instead. The tasks of a barrier stage begin together, and
again together where one fails: the stage attempt is one more than the least of their ids, by which the servers know to
wait for all of them. Without a barrier it is always 0.

Where the shards live in the workers, one that is lost takes the others along, and Spark reports the first failure that
it hears of. So a worker that has lost another keeps quiet for a moment: that one's own failure says more.
"""
from __future__ import annotations

import itertools
import json
import os
import socket
import tempfile
import time
from typing import Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple

import numpy as np
import pyarrow as pa

from .errors import DataError, TaskFailed, WorkerFailed
from .frames import Columns, FrameEncoder, Shown
from .memory import ExecutorMemory, spool_dir
from .programs import WORKER, find_program, why_not_found
from .worker_process import Identity, WorkerProcess, meeting_at

RESULT_SCHEMA = "partition long, done string"  # `done`: the worker's last event, as JSON
_RDD_BATCH_ROWS = 1024
_AFTER_YOU_S = 5.0  # how long a worker that has lost another leaves it to that one to say why


class Cluster(NamedTuple):
    """What a task must know of the job. Plain values: it travels to executors by pickle.

    job_text is the job file itself, since an executor's host may not have it; logs is the folder for the workers'
    logs, used where it exists on that host; row_values is the number of values of a sample; program is the path of
    ps-worker on the executors' hosts, None for the one in the package; rendezvous is where workers that hold the shards
    meet, "" where servers hold them; stall_timeout_s is how long a worker may take no data; memory is what workers have of
    an executor's, None where nothing bounds it, and tasks how many share it in all: workers, and servers that are tasks.
    """
    servers: Tuple[str, ...]
    job_text: str
    row_values: int
    workers: int
    strong: bool = False
    logs: Optional[str] = None
    program: Optional[str] = None
    rendezvous: str = ""
    stall_timeout_s: float = 300.0
    memory: Optional[ExecutorMemory] = None
    tasks: int = 0


class Measure(NamedTuple):
    """What came of samples: mean loss, share of right classes (None where labels are numbers), sum of their weights."""
    loss: Optional[float]
    accuracy: Optional[float]
    weight: float


class Epoch(NamedTuple):
    """One epoch of a partition; None for what an earlier try at it went through, or what is not there.

    train: over its batches, each by the parameters of its step. held_out: at its end, by the worker's own copy.
    """
    train: Optional[Measure]
    held_out: Optional[Measure]


class Result(NamedTuple):
    """What one partition's worker did. loss is None for a partition without rows; epochs are the first 1000."""
    partition: int
    steps: int
    samples: int
    loss: Optional[float]
    seconds: float
    epochs: Tuple[Epoch, ...] = ()

    @classmethod
    def from_event(cls, partition: int, done: Dict) -> Result:
        """From the event `done` of worker/CONTRACT.md."""
        def measure(values):
            return None if values is None else Measure(values["loss"], values["accuracy"], values["weight"])
        epochs = tuple(Epoch(measure(epoch["train"]), measure(epoch["held_out"])) for epoch in done.get("epochs", ()))
        return cls(partition, int(done.get("steps", 0)), int(done.get("samples", 0)), done.get("loss"),
                   float(done.get("seconds", 0.0)), epochs)


def dataframe_trainer(cluster: Cluster, columns: Columns, shown: Shown
                      ) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for DataFrame.mapInArrow, whose result has RESULT_SCHEMA: one row for each partition. shown: what
    messages call the columns."""
    def train_partition(batches):
        partition, done = train_batches(cluster, batches, columns, shown)
        yield pa.RecordBatch.from_arrays([pa.array([partition], pa.int64()), pa.array([json.dumps(done)])],
                                         names=["partition", "done"])
    return train_partition


def rdd_trainer(cluster: Cluster) -> Callable[[Iterable], Iterator[Result]]:
    """A function for RDD.mapPartitions over pairs (features, label); it yields one Result.

    features: bytes, a numpy array of uint8, float32 or float64, or a sequence of floats.
    """
    def train_partition(rows):
        yield Result.from_event(*train_batches(cluster, batches_of(rows), Columns("features", "label")))
    return train_partition


def train_batches(cluster: Cluster, batches: Iterable[pa.RecordBatch], columns: Columns,
                  shown: Optional[Shown] = None) -> Tuple[int, Dict]:
    """Trains on the record batches of the running task's partition; its number and the worker's event `done`.

    Raises TaskFailed.
    """
    identity = _identity(cluster)
    try:
        return identity.partition, _train(cluster, batches, FrameEncoder(columns, cluster.row_values, shown), identity)
    except WorkerFailed as failure:
        if cluster.rendezvous and failure.follows:
            time.sleep(_AFTER_YOU_S)
        raise TaskFailed(failure) from None


def batches_of(rows: Iterable) -> Iterator[pa.RecordBatch]:
    """Pairs (features, label) as record batches."""
    rows = iter(rows)
    while True:
        chunk = list(itertools.islice(rows, _RDD_BATCH_ROWS))
        if not chunk:
            return
        features, labels = zip(*chunk)
        try:
            columns = [_feature_array(features), pa.array(labels)]
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError("rows that do not make one column: %s" % error) from error
        yield pa.RecordBatch.from_arrays(columns, names=["features", "label"])


def _feature_array(features: Tuple) -> pa.Array:
    first = features[0]
    if isinstance(first, np.ndarray):
        if first.dtype == np.uint8:
            return pa.array([row.tobytes() for row in features], pa.binary())
        return pa.array([row.reshape(-1) for row in features], pa.list_(pa.from_numpy_dtype(first.dtype)))
    if isinstance(first, (bytes, bytearray)):
        return pa.array(features, pa.binary())
    return pa.array(features, pa.list_(pa.float32()))


def _identity(cluster: Cluster) -> Identity:
    from pyspark import BarrierTaskContext, TaskContext
    context = BarrierTaskContext.get() if cluster.strong else TaskContext.get()
    if context is None:
        raise RuntimeError("this function runs inside a Spark task only")
    stage = 1 + min(int(each) for each in context.allGather(str(context.taskAttemptId()))) if cluster.strong else 0
    return Identity(context.partitionId(), stage, context.taskAttemptId())


def _train(cluster: Cluster, batches: Iterable[pa.RecordBatch], encoder: FrameEncoder, identity: Identity) -> Dict:
    def failure(status, reason, hint=""):
        return WorkerFailed(identity.partition, "%d.%d" % identity[1:], socket.gethostname(), status, reason, hint)

    if identity.partition >= cluster.workers:
        raise failure(64, "the data has a partition %d, but the job has %d workers" % (identity.partition,
                                                                                       cluster.workers),
                      "the number of partitions changed after it was counted")
    try:
        program = find_program(WORKER, cluster.program)
    except FileNotFoundError as error:
        raise failure(None, why_not_found(error)) from error
    try:
        meeting = meeting_at(cluster.rendezvous) if cluster.rendezvous else None
    except OSError as error:
        raise failure(None, "the workers' rendezvous at %s cannot be reached: %s" % (cluster.rendezvous, error),
                      "it listens on the driver's host, at the host of the job's servers.addresses[0]: that should not"
                      " be loopback where executors are elsewhere, nor be behind a firewall") from error
    with tempfile.TemporaryDirectory(prefix="downpour-", dir=spool_dir()) as folder:
        config = os.path.join(folder, "job.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(cluster.job_text)
        logs = cluster.logs if cluster.logs and os.access(cluster.logs, os.W_OK) else folder
        log_file = os.path.join(logs, "worker-%d.log" % identity.partition)
        memory = cluster.memory.share(cluster.tasks or cluster.workers) if cluster.memory else None
        with WorkerProcess(program, config, cluster.servers, identity, meeting=meeting, memory_bytes=memory,
                           spool_dir=spool_dir(), log_file=log_file,
                           stall_timeout_s=cluster.stall_timeout_s) as worker:
            try:
                for batch in batches:
                    worker.feed(encoder.encode(batch))
                worker.feed(encoder.end())
            except DataError as error:
                raise failure(None, str(error)) from error
            return worker.finish()
