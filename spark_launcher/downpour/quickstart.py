"""Trains a job on IDX files through a local Spark.

    python -m downpour.quickstart JOB.yaml [--master local[2]] [--driver-memory 2g] [--run-dir DIR]

Exit status: 0 trained; 1 failed, with the reason on standard error; 130 for Ctrl-C, 143 for SIGTERM. No process of
this program's making outlives it.
"""
from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

from .errors import DataError, TrainingFailed
from .idx import read_idx
from .process_tree import end_descendants
from .supervisor import check_job
from .train import train


class _Stopped(BaseException):
    """A signal asks the program to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.status = 128 + number


def main(arguments=None) -> int:
    options = _parse(arguments)
    _on_signals(_stop)
    status = 1
    try:
        try:
            _train(options)
            status = 0
        except (TrainingFailed, DataError) as error:
            print("downpour: %s" % error, file=sys.stderr)
    except _Stopped as stopped:
        status = stopped.status
        print("\ndownpour: stopped", file=sys.stderr)
    finally:
        _on_signals(signal.SIG_IGN)
        end_descendants()
    return status


def _parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m downpour.quickstart", description="Trains a job on IDX files"
                                     " through a local Spark.")
    parser.add_argument("job", help="the job file")
    parser.add_argument("--master", help="Spark's master; default: local[N] with a core for each worker")
    parser.add_argument("--driver-memory", default="2g", help="memory of Spark's JVM (default: 2g)")
    parser.add_argument("--run-dir", help="folder of the run; default: a new one under the job's run.dir")
    return parser.parse_args(arguments)


def _train(options) -> None:
    job = check_job(options.job)
    source = job.resolved["data"].get("train") or {}
    if not source.get("images") or not source.get("labels"):
        raise TrainingFailed("%s names no data.train.images and data.train.labels" % job.path)
    beside = os.path.dirname(job.path)
    with tempfile.NamedTemporaryFile(prefix="downpour-spark-", suffix=".log", delete=False) as spark_log:
        try:
            spark = _session(options.master or "local[%d]" % job.workers, options.driver_memory, spark_log)
            data = read_idx(spark, os.path.join(beside, source["images"]), os.path.join(beside, source["labels"]),
                            job.workers, int(job.resolved["data"].get("limit", 0)))
            result = train(data, options.job, run_dir=options.run_dir)
        except TrainingFailed:
            print("Spark's own log is %s" % spark_log.name, file=sys.stderr)
            raise
        except BaseException:
            os.unlink(spark_log.name)
            raise
    shutil.move(spark_log.name, os.path.join(result.run_dir, "logs", "spark.log"))


def _session(master: str, driver_memory: str, log):
    """Starts Spark; what it and its Python workers print to standard error goes to the file `log`."""
    from pyspark.sql import SparkSession
    os.environ["PYSPARK_PYTHON"] = sys.executable  # Spark's own switch: a local session reads no other
    print("Starting Spark ...", end="", flush=True)
    started = time.monotonic()
    terminal = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        spark = (SparkSession.builder.master(master).appName("downpour")
                 .config("spark.driver.memory", driver_memory)
                 .config("spark.driver.bindAddress", "127.0.0.1")
                 .config("spark.driver.host", "127.0.0.1")
                 .config("spark.ui.enabled", "false")
                 .config("spark.ui.showConsoleProgress", "false")
                 .getOrCreate())
    except Exception as error:
        with open(log.name, encoding="utf-8", errors="replace") as file:
            tail = file.read().splitlines()[-10:]
        raise TrainingFailed("Spark did not start: %s\n%s" % (error, "\n".join(tail))) from error
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
    _on_signals(_stop)  # Spark has put a handler of its own there
    print(" %.0f s" % (time.monotonic() - started), flush=True)
    return spark


def _stop(number, _frame):
    _on_signals(signal.SIG_IGN)  # one is enough; what follows is bounded
    raise _Stopped(number)


def _on_signals(handler) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
