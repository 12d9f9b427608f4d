"""Tries at partitions that failed, put together from what Spark and what the servers know of them.

Spark knows each try's error with all its text, and not through Connect; the servers know of each worker that came to
them how it left, or that it fell silent. A try's task attempt is Spark's task id on both sides (shim.py).
"""
from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional

from .errors import PartitionFailed, SparkFailed, TrainingFailed, WorkerFailed, last_python_error
from .spark_job import FailedTask
from .worker_process import tail_of

_EXECUTOR = ("its executor ended under it, which that one's own log explains; where its host or container ran out of"
             " memory, raise spark.executor.memoryOverhead, or lower the job's worker.feed_memory_bytes")
_NO_CAUSE = ("left", "live")  # states of tries that were told to stop, or whose place was taken


def failed_attempts(tasks: Iterable[FailedTask], summary: Mapping[str, Any], strong: bool) -> List[WorkerFailed]:
    """All of them, the first first; where all workers start again together, the one that was the cause before those
    that followed from it.

    summary: ps-run's, as far as there is one.
    """
    known: Dict[int, FailedTask] = {task.task_id: task for task in tasks}
    found = []
    for worker in summary.get("workers", ()):
        for ended in worker.get("ended", ()):
            stage, task_id = _pair(ended["attempt"])
            task = known.pop(task_id, None)
            if task is not None and task.killed:
                continue
            failure = _of_task(task, ended["attempt"]) if task else None
            rank = 0 if failure else 2 if ended["state"] in _NO_CAUSE else 1
            found.append((stage, rank, task_id, failure or WorkerFailed(
                worker["partition"], ended["attempt"], ended["host"], None, ended["reason"] or "it said nothing")))
    for task in known.values():
        # Without a worker's own word it may be a task of another stage, of those that compute the data.
        failure = WorkerFailed.from_text(task.text)
        if failure is not None and not task.killed:
            found.append((_pair(failure.attempt)[0], 0, task.task_id, failure))

    def order(one):
        stage, rank, task_id, failure = one
        return (stage, rank, failure.follows, task_id) if strong else task_id
    return [failure for *_, failure in sorted(found, key=order)]


def first_failure(last: TrainingFailed, attempts: List[WorkerFailed], partition: Optional[int],
                  strong: bool, logs: str) -> TrainingFailed:
    """The error that a failed job is to end with: that of the first failed try at the partition which it ended for, with
    the others listed; where all workers start again together, of the first of all.

    last: what Spark ended the job for. partition: whose failure that was, where it is known. logs: the folder of the
    workers' logs, where they can be read.
    """
    ours = attempts if strong else [one for one in attempts if one.partition == partition]
    if not ours or not isinstance(last, (WorkerFailed, PartitionFailed, SparkFailed)):
        return last
    first = ours[0]
    others = [one for one in attempts if one is not first]
    if isinstance(last, PartitionFailed):
        if not others:
            return last
        lines = ["a partition could not be computed: " + first.reason, "first in " + _where(first),
                 "then, or elsewhere:"]
        return PartitionFailed("\n".join(lines + ["    %s" % (other.as_attempt(),) for other in others]))
    return first.with_others(others, tail_of(os.path.join(logs, "worker-%d.log" % first.partition)))


def partition_of(text: str) -> Optional[int]:
    """The partition that a Spark error ended its job for."""
    found = re.search(r"\b[Tt]ask (\d+)(?:\.\d+)? in stage [\d.]+", text)
    return int(found.group(1)) if found else None


def _of_task(task: FailedTask, attempt: str) -> Optional[WorkerFailed]:
    failure = WorkerFailed.from_text(task.text)
    if failure is not None:
        return failure
    lines = [line for line in task.text.splitlines() if line.strip()]
    reason = last_python_error(task.text) or (lines[0] if lines else "")
    hint = _EXECUTOR if reason.startswith("ExecutorLost") else ""
    return WorkerFailed(task.partition, attempt, task.host, None, reason, hint) if reason else None


def _where(failure: WorkerFailed) -> str:
    return "partition %d, attempt %s on %s" % failure.as_attempt()[:3]


def _pair(attempt: str):
    stage, _, task = attempt.partition(".")
    return int(stage), int(task)
