"""The function that runs inside a Spark task whose child is a parameter server.

The task connects to the driver (server_stage.py), starts ps-server on the address by which it got there, and says where
it listens, as one line of JSON. It lives for as long as the driver keeps that connection open; a server that ends before
is told as a second line. The server itself ends when this process is gone.
"""
from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import pyarrow as pa

from .errors import TAIL_LINES
from .memory import spool_dir
from .placement import join_address
from .programs import SERVER, find_program, loader_hint, why_not_found, why_not_started

RESULT_SCHEMA = "server int, log binary"
LINE_LIMIT = 1 << 16  # of what a task says
_LOG_LIMIT = 4 << 20  # the end of a log is what is kept of it
_CONNECT_S = 30.0
_GRACE_S = 10.0


class ServerPlan(NamedTuple):
    """What the tasks must know. Plain values: it travels to executors by pickle.

    driver: where the driver waits for them. token: shows it that a line comes from a task of this run. program: path of
    ps-server on the executors' hosts, None for the one in the package.
    """
    driver: Tuple[str, int]
    token: str
    job_text: str
    program: Optional[str] = None


class ServerEnded(RuntimeError):
    """A server that did not start, or ended before it was told to."""


def server_task(plan: ServerPlan) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for DataFrame.mapInArrow: partition i is server i. One row of RESULT_SCHEMA, once it was told to end."""
    def serve(_):
        from pyspark import BarrierTaskContext
        index = BarrierTaskContext.get().partitionId()
        log = _serve(plan, index)
        yield pa.RecordBatch.from_arrays([pa.array([index], pa.int32()), pa.array([log], pa.binary())],
                                         names=["server", "log"])
    return serve


def _serve(plan: ServerPlan, index: int) -> bytes:
    with socket.create_connection(plan.driver, _CONNECT_S) as driver, tempfile.TemporaryDirectory(
            prefix="downpour-", dir=spool_dir()) as folder:
        driver.settimeout(None)
        driver.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        own = {"token": plan.token, "server": index, "host": socket.gethostname()}
        log = os.path.join(folder, "server.log")
        try:
            with _Server(plan, index, join_address(driver.getsockname()[0], 0), folder, log) as server:
                _say(driver, {**own, **server.listening()})
                server.wait(driver)
        except ServerEnded as ended:
            _say(driver, {**own, "reason": str(ended), "log": _tail(log)})
            raise
        return _end_of(log)


class _Server:
    """One ps-server child; a context manager, at whose end it is not left."""

    def __init__(self, plan: ServerPlan, index: int, address: str, folder: str, log: str):
        config = os.path.join(folder, "job.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(plan.job_text)
        try:
            program = find_program(SERVER, plan.program)
        except FileNotFoundError as error:
            raise ServerEnded(why_not_found(error)) from error
        self._command = [program, "--config", config, "--index", str(index), "--listen", address, "--metrics", address,
                         "--log-file", log]

    def __enter__(self) -> _Server:
        read_end, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*self._command, "--lifeline-fd", str(read_end)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, pass_fds=(read_end,), start_new_session=True)
        except OSError as error:
            os.close(self._lifeline)
            raise ServerEnded(why_not_started(self._command[0], error)) from error
        finally:
            os.close(read_end)
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._lifeline)
        self._process.stdout.close()
        self._process.stderr.close()

    def listening(self) -> dict:
        """Where it listens, once it does. Raises ServerEnded."""
        line = self._process.stdout.readline(LINE_LIMIT)
        if not line:
            raise self._ended()
        event = json.loads(line)
        return {"address": event["address"], "metrics": event["metrics"]}

    def wait(self, driver: socket.socket) -> None:
        """Returns when the driver closes the connection. Raises ServerEnded if the server ends before."""
        poller = select.poll()
        poller.register(driver, select.POLLIN)
        poller.register(self._process.stdout, select.POLLIN)
        while True:
            for ready, _ in poller.poll():
                if ready == driver.fileno():
                    return
                if not self._process.stdout.readline(LINE_LIMIT):
                    raise self._ended()

    def _ended(self) -> ServerEnded:
        said = self._process.stderr.read().decode("utf-8", "replace").strip()
        status = self._process.wait()
        how = "it was killed by signal %d" % -status if status < 0 else "it ended with status %d" % status
        return ServerEnded(": ".join(filter(None, (how, said, loader_hint(said)))))


def _say(driver: socket.socket, line: dict) -> None:
    driver.sendall(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _end_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - _LOG_LIMIT))
            return file.read()
    except OSError:
        return b""


def _tail(path: str) -> List[str]:
    return [line[:200] for line in _end_of(path).decode("utf-8", "replace").splitlines()[-TAIL_LINES:]]
