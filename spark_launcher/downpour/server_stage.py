"""A run's parameter servers as the tasks of a Spark job of their own, which runs beside the workers'."""
from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from typing import Dict, List, NamedTuple, Optional, Set

from .errors import TrainingFailed, last_python_error, spark_reason
from .job_tags import JobTag, inheriting
from .server_task import LINE_LIMIT, RESULT_SCHEMA, ServerPlan, server_task

_START_S = 120.0
_DRAIN_S = 20.0
_CANCEL_S = 10.0
_LOOK_S = 0.05
_STRANGERS = 1000  # connections of no task, which are let wait to say what they are; more are closed at once


class Listening(NamedTuple):
    """Where a server and its /metrics listen."""
    address: str
    metrics: str


class ServerStage:
    """Starts the servers; a context manager, at whose end they have ended.

        with ServerStage(spark, job_text, 2, "10.0.0.5") as stage:
            addresses = [server.address for server in stage.wait_started()]

    Args:
      job_text: the job, as the workers have it.
      count: number of servers, each a task that keeps a slot.
      host: an address of this host that executors reach.
      program: path of ps-server on the executors; None for the one in the package.

    The tasks connect to a port of this host and stay connected. Closing the connections ends them.
    """

    def __init__(self, spark, job_text: str, count: int, host: str, program: Optional[str] = None):
        self._spark = spark
        self._job_text = job_text
        self.count = count
        self._host = host.strip("[]")
        self._program = program
        self._tag = JobTag(spark)
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._servers: Dict[int, Listening] = {}     # guarded by _lock, as is what follows
        self._connections: Set[socket.socket] = set()
        self._failure: Optional[TrainingFailed] = None
        self._ending = False
        self._logs: Dict[int, bytes] = {}            # of the stage's thread, until it has ended
        # Not the thread's own word: a join that is interrupted takes it for ended (in Python before 3.13).
        self._ended = threading.Event()

    def __enter__(self) -> ServerStage:
        try:
            family, _, _, _, address = socket.getaddrinfo(self._host, 0, type=socket.SOCK_STREAM)[0]
            self._listener = socket.create_server(address[:2], family=family, backlog=max(64, self.count))
        except OSError as error:
            raise TrainingFailed("servers='tasks': their tasks report to this driver, which cannot listen on %s: %s; set"
                                 " spark.driver.host to an address of this host that executors reach"
                                 % (self._host, error.strerror or error)) from error
        listens_on = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=inheriting(lambda: self._run(listens_on)), name=self._tag.name, daemon=True).start()
        return self

    def __exit__(self, *_):
        with self._lock:
            self._ending = True
            connections = list(self._connections)
        _shut(self._listener)
        for connection in connections:
            _shut(connection)
        # Where not all have begun, Spark may not even have room for the stage.
        if not self._ended.wait(_DRAIN_S if self._all_listen() else 0.0):
            self._tag.cancel()
            self._ended.wait(_CANCEL_S)

    def wait_started(self) -> List[Listening]:
        """Where all servers listen, once they do. Raises TrainingFailed if one does not start within two minutes."""
        deadline = time.monotonic() + _START_S
        while True:
            with self._lock:
                if self._failure:
                    raise self._failure
                if len(self._servers) == self.count:
                    return [self._servers[index] for index in range(self.count)]
                missing = self.count - len(self._servers)
            if time.monotonic() > deadline:
                raise TrainingFailed("%d of %d servers did not start as tasks within %g s: Spark may have too few slots for"
                                     " them, or executors do not reach this driver at %s" % (missing, self.count, _START_S,
                                                                                            self._host))
            time.sleep(_LOOK_S)

    def failure(self, wait_s: float = 0.0) -> Optional[TrainingFailed]:
        """Why the servers did not last, as soon as it is known and within `wait_s`."""
        deadline = time.monotonic() + wait_s
        while True:
            with self._lock:
                if self._failure or time.monotonic() >= deadline:
                    return self._failure
            time.sleep(_LOOK_S)

    def write_logs(self, folder: str) -> None:
        """Leaves the servers' logs in a folder, once they have ended; nothing of those that ended badly."""
        for index, log in self._logs.items():
            with open(os.path.join(folder, "server-%d.log" % index), "wb") as file:
                file.write(log)

    def _all_listen(self) -> bool:
        with self._lock:
            return len(self._servers) == self.count

    def _run(self, listens_on) -> None:
        plan = ServerPlan(listens_on, self._token, self._job_text, self._program)
        try:
            with self._tag.tagged():
                rows = self._spark.range(0, self.count, 1, self.count).mapInArrow(
                    server_task(plan), RESULT_SCHEMA, barrier=True).collect()
            self._logs = {row.server: bytes(row.log) for row in rows}
            self._fail("the servers' tasks have ended")
        except Exception as error:
            text = str(error)
            self._fail("the servers' Spark job failed: " + (last_python_error(text) or spark_reason(error)))
        finally:
            self._ended.set()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._is_ending():
                    return
                time.sleep(_LOOK_S)  # such as no descriptor left
                continue
            with self._lock:
                welcome = not self._ending and len(self._connections) < self.count + _STRANGERS
                if welcome:
                    self._connections.add(connection)
            if not welcome:
                _shut(connection)
                continue
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _is_ending(self) -> bool:
        with self._lock:
            return self._ending

    def _listen(self, connection: socket.socket) -> None:
        """What a task says, up to its end."""
        name = None
        connection.settimeout(_START_S)  # whoever is no task says nothing
        try:
            with connection, connection.makefile("rb") as lines:
                while True:
                    said = self._understood(lines.readline(LINE_LIMIT))
                    if said is None:
                        break
                    connection.settimeout(None)
                    name = "server %d on %s" % (said["server"], said["host"])
                    if "reason" in said:
                        self._fail("%s failed: %s" % (name, said["reason"]), said.get("log", ()))
                    else:
                        with self._lock:
                            self._servers[said["server"]] = Listening(said["address"], said["metrics"])
        except OSError:
            pass
        with self._lock:
            self._connections.discard(connection)
        if name:
            self._fail("%s was lost, and its parameters with it: its executor, or its host, is gone; the job has to begin"
                       " again" % name)

    def _understood(self, line: bytes) -> Optional[dict]:
        """A line of a task of this run; None for any other."""
        try:
            said = json.loads(line)
            mine = secrets.compare_digest(str(said["token"]), self._token) and 0 <= said["server"] < self.count
            return said if mine and ("reason" in said or (said["address"] and said["metrics"])) else None
        except (ValueError, TypeError, KeyError):
            return None

    def _fail(self, sentence: str, log=()) -> None:
        """Keeps the first failure; after the end has begun there is none."""
        if log:
            sentence += "\nits last log lines:\n" + "\n".join("    " + line for line in log)
        with self._lock:
            if not self._ending and self._failure is None:
                self._failure = TrainingFailed(sentence)


def _shut(connection: socket.socket) -> None:
    """Wakes whoever waits on a socket, here and at its other end, and closes it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
