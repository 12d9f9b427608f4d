"""A Spark action that can be cancelled, and what Spark knows of its tasks."""
from __future__ import annotations

import functools
import threading
from typing import Any, Callable, List, NamedTuple

from .job_tags import JobTag, inheriting

_CANCEL_S = 10.0      # how long cancelled tasks may take to end
_EVENTS_MS = 2000     # how long Spark may take to hear of the last task's end
_MOST_TASKS = 100000  # of a stage that are looked at


class FailedTask(NamedTuple):
    """A task that did not end well, as Spark tells it. task_id grows with each task of the application."""
    task_id: int
    partition: int
    host: str
    killed: bool  # by Spark, for another has its place or its stage was given up
    text: str     # the error, with stack traces


class SparkJob:
    """Runs an action in a thread of its own: an interrupt within a call to the JVM would leave that connection
    unusable.

    The Spark jobs that the action starts carry a tag, by which they, and no others, are cancelled and found again.
    """

    def __init__(self, spark, action: Callable[[], Any]):
        self._spark = spark
        self._tag = JobTag(spark)
        self._outcome: List[Callable[[], Any]] = []  # one function, which gives the result or raises the error

        def run():
            try:
                with self._tag.tagged():
                    result = action()
                self._outcome.append(lambda: result)
            except BaseException as error:
                self._outcome.append(functools.partial(_raise, error))
            finally:
                self._ended.set()

        # Not the thread's own word: a join that is interrupted takes it for ended (in Python before 3.13).
        self._ended = threading.Event()
        threading.Thread(target=inheriting(run), name=self._tag.name, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, waiting for so long at most."""
        return self._ended.wait(seconds)

    def cancel(self) -> None:
        """Cancels what still runs of it, and waits until its tasks have ended, for 10 s at most."""
        if not self._ended.is_set():
            self._tag.cancel()
            self._ended.wait(_CANCEL_S)

    def result(self) -> Any:
        """What the action gave, or raises what it raised; once wait has said that it has ended."""
        return self._outcome[0]()

    def failed_tasks(self) -> List[FailedTask]:
        """Its tasks that failed or were killed, in the order in which they began; none where Spark can't be asked, as
        through Connect."""
        from pyspark.sql.utils import is_remote
        if is_remote():
            return []
        try:
            context = self._spark.sparkContext._jsc.sc()  # what the REST service reads, too
            context.listenerBus().waitUntilEmpty(_EVENTS_MS)
            store = context.statusStore()
            found = {}
            for job in context.statusTracker().getJobIdsForTag(self._tag.name):
                for stage in _sequence(store.job(job).stageIds()):
                    for task in _tasks_of(self._spark.sparkContext._jvm, store, stage):
                        found[task.task_id] = task
        except Exception:  # another Spark, or one that has ended: there is nothing to add then
            return []
        return [found[task_id] for task_id in sorted(found)]


def _tasks_of(jvm, store, stage: int):
    kinds = jvm.org.apache.spark.status.api.v1
    ended_badly = jvm.java.util.ArrayList()
    for status in (kinds.TaskStatus.FAILED, kinds.TaskStatus.KILLED):
        ended_badly.add(status)
    for attempt in range(store.lastStageAttempt(stage).attemptId() + 1):
        for task in _sequence(store.taskList(stage, attempt, 0, _MOST_TASKS, kinds.TaskSorting.ID, ended_badly)):
            error = task.errorMessage()
            yield FailedTask(task.taskId(), task.partitionId(), task.host(), task.status() == "KILLED",
                             error.get() if error.isDefined() else "")


def _sequence(scala):
    return [scala.apply(i) for i in range(scala.length())]


def _raise(error: BaseException):
    raise error
