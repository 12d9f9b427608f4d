"""Failures that travel through Spark as text."""
import pickle

import pytest

from downpour.errors import TaskFailed, WorkerFailed, last_python_error, spark_reason

FAILURE = WorkerFailed(1, "0.7", "node3", 69, "no server at h:1", "start it", ["a \"quoted\" line", "größer]"])


def test_a_failure_survives_a_stack_trace():
    text = "Job aborted: [PYTHON] Traceback:\n  File x\ndownpour.errors.TaskFailed: %s\n\n\tat org.apache.Spark(X.scala)" \
           % TaskFailed(FAILURE)
    found = WorkerFailed.from_text(text)
    assert found.args == FAILURE.args and str(found) == str(FAILURE)


def test_the_first_of_several():
    other = WorkerFailed(0, "0.6", "node2", None, "x")
    assert WorkerFailed.from_text("%s\n%s" % (TaskFailed(FAILURE), TaskFailed(other))).partition == 1


def test_text_without_one():
    assert WorkerFailed.from_text("downpour-failure: [1") is None
    assert WorkerFailed.from_text("downpour-failure: [1]") is None
    assert WorkerFailed.from_text("nothing") is None


def test_what_it_says():
    assert str(FAILURE).splitlines() == [
        "worker of partition 1 on node3, attempt 0.7, failed: no server at h:1 (exit status 69)",
        "likely cause: start it", "its last log lines:", "    a \"quoted\" line", "    größer]"]
    assert "(signal 9)" in str(WorkerFailed(0, "0.0", "h", -9, "it was killed"))


def test_long_logs_are_cut():
    failure = WorkerFailed(0, "0.0", "h", 1, "x", "", ["y" * 1000] * 100)
    assert len(failure.log_tail) == 50 and len(failure.log_tail[0]) == 300


def test_pickle():
    assert pickle.loads(pickle.dumps(FAILURE)).args == FAILURE.args


def test_the_error_of_a_traceback():
    text = "Py4J: x\nTraceback (most recent call last):\n  File \"a.py\", line 1\n    raise X\n" \
           "downpour.errors.DataError: f is truncated\n\n\tat org.apache: y"
    assert last_python_error(text) == "DataError: f is truncated"
    assert last_python_error("no trace") is None


@pytest.mark.parametrize("text, reason", [
    ("", "RuntimeError"),
    ("\nno such table\nat line 3", "no such table"),
    ("An error occurred while calling o1.collect.", "An error occurred while calling o1.collect."),
    ("An error occurred while calling o1.collect.\n: java.io.IOException: gone\n\tat x.y(Z)", "java.io.IOException: gone"),
    ("An error occurred while calling o1.collect.\n: a.B: c\n\tat x\nCaused by: d.E: f\n\tat y\nCaused by: g.H: i\n\tat z",
     "g.H: i")])
def test_the_one_line_of_a_spark_error_that_says_most(text, reason):
    assert spark_reason(RuntimeError(text)) == reason
