"""What the doctor has a Spark task do. It travels by value, for the executors' Python need not have the package: so it
uses nothing of it but what it finds there."""
from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time

SCHEMA = "facts string"
_PATIENCE_S = 5.0


def prober(addresses, hold_s, program):
    """A function for DataFrame.mapInArrow, whose result has SCHEMA: one row, the fields of facts.Probe as JSON.

    addresses: of servers, by address whether it is the doctor who listens there, and tells the time. hold_s: how long the
    task keeps its slot, so that the others have to take others. program: path of ps-worker; None for the package's.
    """
    def probe(_):
        import pyarrow as pa
        began = time.time()
        version, trouble = _package(program)
        ports, ahead = {}, None
        for address, tells_time in addresses.items():
            ports[address], seen = _reach(address, tells_time)
            ahead = seen if seen is not None else ahead
        temporary = _temporary()
        facts = {"host": socket.gethostname(), "process": os.getppid(), "version": version, "program": trouble,
                 "ports": ports, "ahead": ahead, "gpus": _gpus(), "cpus": os.cpu_count() or 1, "temporary": temporary,
                 "free_bytes": shutil.disk_usage(temporary).free, "began": began}
        time.sleep(max(0.0, began + hold_s - time.time()))
        yield pa.RecordBatch.from_arrays([pa.array([json.dumps({**facts, "ended": time.time()})])], names=["facts"])
    return probe


def _package(program):
    """The package's version, and why its ps-worker does not run, "" where it does."""
    try:
        from downpour.version import VERSION
    except ImportError:
        return None, None
    try:
        from downpour.programs import WORKER, find_program, why_not_found, why_not_running
    except ImportError:  # another version's
        return VERSION, None
    try:
        return VERSION, why_not_running(find_program(WORKER, program))
    except FileNotFoundError as error:
        return VERSION, why_not_found(error)


def _reach(address, tells_time):
    """Why an address is not reached, "" where it is; and by how much this clock is ahead of its, if it tells the time."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S) as connection:
            if not tells_time:
                return "", None
            asked = time.time()
            connection.sendall(b"?")
            theirs = float(connection.recv(64))
            return "", (asked + time.time()) / 2 - theirs
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__, None


def _gpus():
    from pyspark import TaskContext
    gpu = TaskContext.get().resources().get("gpu")
    return list(gpu.addresses) if gpu else []


def _temporary():
    """Where a worker keeps rows that have no room in memory."""
    try:
        from downpour.memory import spool_dir
    except ImportError:
        return tempfile.gettempdir()
    return spool_dir()
