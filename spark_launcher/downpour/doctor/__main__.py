"""python -m downpour.doctor: examine() from a command line.

Exit status: 0 nothing will fail; 1 something will; 2 it could not run.
"""
from __future__ import annotations

import argparse
import json
import re
import socket
import sys

from ..errors import TrainingFailed, spark_reason
from ..supervisor import check_job
from .examination import examine
from .report import COULD_NOT_RUN

_PORTS = {"sc": 15002, "spark": 7077}
_REACH_S = 5.0


def main(arguments=None) -> int:
    options = _parse(arguments)
    try:  # first what can be known without Spark, which may take minutes to find that nobody answers
        if options.job:
            check_job(options.job)
        _check_reached(options.remote or options.master or "")
    except TrainingFailed as error:
        return _could_not_run(options, str(error))
    try:
        spark = _session(options)
    except Exception as error:
        return _could_not_run(options, "there is no Spark session: " + spark_reason(error))
    try:
        report = examine(spark, options.job, workers=options.workers, servers=options.servers,
                         worker_program=options.worker_program, wait_s=options.wait)
    except TrainingFailed as error:
        return _could_not_run(options, str(error))
    except Exception as error:
        return _could_not_run(options, spark_reason(error))
    finally:
        spark.stop()
    print(report.to_json() if options.json else report)
    return report.status


def _parse(arguments) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m downpour.doctor", description="Checks by a small Spark job whether a job could be trained there.",
        epilog="Exit status: 0 nothing will fail; 1 something will; 2 it could not run.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--master", help="the cluster's master, such as spark://host:7077; default: as Spark is configured")
    where.add_argument("--remote", help="a Spark Connect server, such as sc://host:15002")
    parser.add_argument("--job", help="the job file; without it two workers in a weak sync mode are supposed")
    parser.add_argument("--workers", type=int, help="in place of the job's")
    parser.add_argument("--servers", default="driver",
                        help="where they are to run: driver, running, tasks, or the addresses of running ones")
    parser.add_argument("--conf", action="append", default=[], metavar="KEY=VALUE", help="a setting of Spark's; may be repeated")
    parser.add_argument("--worker-program", help="path of ps-worker on the executors; default: the package's")
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="how long executors may take to come")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if options.workers is not None and options.workers < 1:
        parser.error("--workers should be at least 1")
    for setting in options.conf:
        if "=" not in setting:
            parser.error("--conf %s: it should be KEY=VALUE" % setting)
    return options


def _check_reached(url: str) -> None:
    """Raises TrainingFailed where nobody listens at a master or a Connect server; for other URLs only Spark knows."""
    found = re.fullmatch(r"(sc|spark)://(\[[^\]]+\]|[^/;:,]+)(?::(\d+))?(?:[/;].*)?", url)
    if not found:
        return
    host, port = found.group(2).strip("[]"), int(found.group(3) or _PORTS[found.group(1)])
    try:
        socket.create_connection((host, port), _REACH_S).close()
    except OSError as error:
        raise TrainingFailed("nobody answers at %s: %s; is it running, and is this its address?" % (url, error)) from error


def _session(options: argparse.Namespace):
    from pyspark.sql import SparkSession
    builder = SparkSession.builder
    if options.remote:
        builder = builder.remote(options.remote)
    else:
        builder = builder.appName("downpour.doctor").config("spark.ui.showConsoleProgress", "false")
        if options.master:
            builder = builder.master(options.master)
    for setting in options.conf:
        key, _, value = setting.partition("=")
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _could_not_run(options: argparse.Namespace, why: str) -> int:
    if options.json:
        print(json.dumps({"ok": False, "error": why}))
    else:
        print("The doctor could not run: " + why, file=sys.stderr)
    return COULD_NOT_RUN


if __name__ == "__main__":
    sys.exit(main())
