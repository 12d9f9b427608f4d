"""Which attempt failed first, out of what Spark and the servers know."""
import pytest

from downpour.attempts import failed_attempts, first_failure, partition_of
from downpour.errors import FailedAttempt, PartitionFailed, SparkFailed, TaskFailed, TrainingFailed, WorkerFailed
from downpour.spark_job import FailedTask

TRACE = ("org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n  File x\n%s\n\n"
         "\tat org.apache")
LOST = "ExecutorLostFailure (executor 0 exited caused by one of the running tasks) Reason: Command exited with code 137"


def worker_failed(partition, attempt, reason, status=65):
    return WorkerFailed(partition, attempt, "node%d" % partition, status, reason)


def told(task_id, partition, attempt, reason, status=65, killed=False):
    """A task as Spark tells it whose worker failed."""
    failure = worker_failed(partition, attempt, reason, status)
    return FailedTask(task_id, partition, "h", killed, TRACE % ("TaskFailed: %s" % TaskFailed(failure)))


def task(task_id, partition, text, killed=False):
    return FailedTask(task_id, partition, "h", killed, text)


def summary(*ended):
    """What ps-run writes: each of `ended` is partition, attempt, state and reason."""
    workers = {}
    for partition, attempt, state, reason in ended:
        workers.setdefault(partition, []).append({"attempt": attempt, "host": "s", "state": state, "reason": reason})
    return {"workers": [{"partition": partition, "ended": all_of_it} for partition, all_of_it in workers.items()]}


def seen(tasks, told_by_servers, strong=False):
    return [tuple(failure.as_attempt()) for failure in failed_attempts(tasks, told_by_servers, strong)]


def test_nothing_is_known():
    assert failed_attempts([], {}, False) == []


def test_each_side_adds_what_the_other_does_not_know():
    tasks = [told(7, 1, "0.7", "the port is in use"),           # came to no server
             task(5, 0, LOST),                                  # whose worker the servers saw vanish
             task(6, 2, TRACE % "ValueError: not yet"),         # whose rows could not be computed
             task(9, 3, "a task of a stage that came before")]  # and has nothing to do with workers
    servers = summary((0, "0.5", "lost", "silent for 2.0 s"), (2, "0.6", "left", "the feed closed"),
                      (1, "0.8", "broken", "the disk is full"))
    assert seen(tasks, servers) == [
        (0, "0.5", "h", LOST), (2, "0.6", "h", "ValueError: not yet"), (1, "0.7", "node1", "the port is in use"),
        (1, "0.8", "s", "the disk is full")]


def test_what_spark_ended_itself_did_not_fail():
    assert seen([task(5, 0, "TaskKilled (another attempt succeeded)", killed=True)],
                summary((0, "0.5", "left", "the feed closed"))) == []


def test_where_all_start_again_the_cause_comes_before_what_followed():
    tasks = [told(4, 0, "4.4", "server 0 was lost", status=69), told(5, 1, "4.5", "bad data"),
             told(8, 0, "8.8", "the same again")]
    servers = summary((2, "4.6", "left", "the feed closed"), (0, "4.4", "broken", "server 0 was lost"),
                      (1, "4.5", "broken", "bad data"))
    assert [attempt for _, attempt, *_ in seen(tasks, servers, strong=True)] == ["4.5", "4.4", "4.6", "8.8"]


ATTEMPTS = [worker_failed(0, "0.1", "elsewhere"), worker_failed(1, "0.2", "first"), worker_failed(1, "0.5", "last")]


def test_the_first_of_the_partition_that_ended_the_job(tmp_path):
    (tmp_path / "worker-1.log").write_text("a line\n")
    error = first_failure(ATTEMPTS[2], ATTEMPTS, 1, False, str(tmp_path))
    assert (error.attempt, error.reason, error.log_tail) == ("0.2", "first", ("a line",))
    assert error.others == (FailedAttempt(0, "0.1", "node0", "elsewhere"), FailedAttempt(1, "0.5", "node1", "last"))
    lines = str(error).splitlines()
    assert lines[1:4] == ["other attempts that failed:", "    partition 0, attempt 0.1 on node0: elsewhere",
                          "    partition 1, attempt 0.5 on node1: last"]
    assert WorkerFailed.from_text(error.to_line()).others == error.others


def test_the_first_of_all_where_all_start_again():
    assert first_failure(ATTEMPTS[2], ATTEMPTS, 1, True, "/nowhere").attempt == "0.1"


def test_a_lost_executor_is_the_first_failed_attempt_too():
    attempts = failed_attempts([task(5, 0, LOST)], summary((0, "0.5", "lost", "silent for 2.0 s")), False)
    error = first_failure(SparkFailed("the Spark job failed: x"), attempts, 0, False, "/nowhere")
    assert error.reason == LOST and "spark.executor.memoryOverhead" in error.hint


def test_rows_that_could_not_be_computed():
    last = PartitionFailed("a partition could not be computed: ValueError: try 2")
    assert first_failure(last, ATTEMPTS[1:2], 1, False, "") is last
    text = str(first_failure(last, ATTEMPTS, 1, False, ""))
    assert text.startswith("a partition could not be computed: first\nfirst in partition 1, attempt 0.2 on node1")
    assert "attempt 0.5 on node1: last" in text


@pytest.mark.parametrize("last", [TrainingFailed("ps-run ended"), SparkFailed("the Spark job failed: x")])
def test_other_ends_stay_as_they_are(last):
    assert first_failure(last, [], None, False, "") is last
    if type(last) is TrainingFailed:
        assert first_failure(last, ATTEMPTS, 1, False, "") is last


def test_the_partition_in_sparks_words():
    assert partition_of("Job aborted due to stage failure: Task 3 in stage 5.0 failed 4 times, most recent failure: "
                        "Lost task 3.3 in stage 5.0 (TID 9)") == 3
    assert partition_of("nothing of that kind") is None
