"""What benches that train through Spark share: this checkout's Python, a session, one job by either way."""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from typing import NamedTuple

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PS_RUN = REPOSITORY / "dist" / "bin" / "ps-run"


class Seen(NamedTuple):
    """What a run came to.

    seconds: of the whole command or call, from its start to its end. cpu_seconds: of all cores, by all its processes.
    """

    seconds: float
    cpu_seconds: float
    summary: dict


def in_own_environment():
    """Goes on in .venv's Python, which has Spark and the wheel, where this one is another."""
    python = REPOSITORY / ".venv" / "bin" / "python"
    if not PS_RUN.exists() or not python.exists():
        sys.exit("no dist/bin/ps-run or no .venv: run tools/build first")
    if pathlib.Path(sys.prefix).resolve() != python.parents[1].resolve():
        os.execv(python, [str(python), *sys.argv])
    os.environ["PYSPARK_PYTHON"] = str(python)


def session(cores):
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.driver.memory", "2g")
        .getOrCreate()
    )


def images(spark, job, partitions):
    """The job's own training data as a DataFrame."""
    import downpour

    source = job["data"]["train"]
    return downpour.read_idx(spark, source["images"], source["labels"], partitions, int(job["data"].get("limit", 0)))


def write_job(job, path):
    path.write_text(json.dumps(job))  # JSON is YAML
    return path


class Stopwatch:
    """Time since it was made, and what this process and all its descendants have computed since then."""

    def __init__(self):
        self._began, self._used = time.monotonic(), self._cpu_ticks()

    def read(self):
        ticks = self._cpu_ticks() - self._used
        return time.monotonic() - self._began, ticks / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _cpu_ticks():
        """Of the processes that live, with those that they have waited for."""
        parents, ticks = {}, {}
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)], ticks[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
        own = {os.getpid()}
        while grown := {pid for pid, parent in parents.items() if parent in own} - own:
            own |= grown
        return sum(ticks[pid] for pid in own)


def by_ps_run(job_file, run_dir):
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(f"{run_dir}.log", "wb") as log:
        ended = subprocess.run([PS_RUN, job_file, "--run-dir", run_dir], stdout=log, stderr=subprocess.STDOUT)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ended.returncode != 0:
        sys.exit(f"ps-run failed:\n{pathlib.Path(log.name).read_text()[-2000:]}")
    return Seen(seconds, cpu_seconds, json.loads((pathlib.Path(run_dir) / "summary.json").read_text()))


def by_fit(job_file, data, run_dir, **params):
    from downpour.ml import DownpourClassifier

    classifier = DownpourClassifier(job=str(job_file), runDir=str(run_dir), **params)
    watch = Stopwatch()
    with silent(f"{run_dir}.log"):
        model = classifier.fit(data)
    return Seen(*watch.read(), model.summary.totals)


@contextlib.contextmanager
def silent(path):
    """Standard output, that of child processes too, goes into a file."""
    sys.stdout.flush()
    kept = os.dup(1)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
