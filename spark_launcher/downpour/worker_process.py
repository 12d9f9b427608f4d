"""One ps-worker child: started, fed, listened to, and ended whatever happens (worker/CONTRACT.md)."""
from __future__ import annotations

import collections
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
import weakref
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence

from .errors import TAIL_LINES, WorkerFailed
from .frames import Frame, unwritten
from .pipe import PipeWriter
from .placement import join_address, split_address
from .programs import WRONG_CPU, loader_hint, why_not_started

_OPEN_FEED_BYTES = 1 << 20  # the pipe's capacity, where the system allows it
_LOOK_S = 0.2               # how often a wait looks whether the worker still lives

# What an exit status of the contract says, and what is likely behind it.
_STATUSES = {
    64: ("it refused its flags or the job file", ""),
    65: ("it refused the data", ""),
    69: ("a server, or another worker that holds parameters, could not be reached, or was lost",
         "it ended, or a firewall or an address that only the driver's host knows is in the way; the servers'"
         " logs are in the run folder"),
    70: ("it failed by its own fault, or its gradients were not finite",
         "a learning rate that is too high, if the loss was growing"),
    75: ("it was told to stop", ""),
    76: ("another attempt of the same partition has its place", ""),
    78: ("the job and the servers disagree", "servers of another job, or of another version, at these addresses"),
}
_SIGNALS = {
    signal.SIGKILL: "the host or its container ran out of memory: raise spark.executor.memoryOverhead, or lower the"
                    " job's worker.feed_memory_bytes or training.batch",
    signal.SIGILL: WRONG_CPU,
    signal.SIGSEGV: "an error in the program itself",
    signal.SIGABRT: "an error in the program itself",
}


class Identity(NamedTuple):
    """Which try at which partition a worker is. A later try has a greater (stage_attempt, task_attempt)."""
    partition: int
    stage_attempt: int = 0
    task_attempt: int = 0


class Meeting(NamedTuple):
    """Where workers that hold shards meet, and where this one's are to listen."""
    rendezvous: str
    listen: str


def meeting_at(rendezvous: str, timeout_s: float = 30.0) -> Meeting:
    """The meeting for a worker on this host: it listens on the address by which this host reaches the rendezvous.

    OSError if the rendezvous can't be reached.
    """
    with socket.create_connection(split_address(rendezvous), timeout_s) as connection:
        return Meeting(rendezvous, join_address(connection.getsockname()[0], 0))


class WorkerProcess:
    """Runs one worker; a context manager, at whose end no process is left.

        with WorkerProcess(program, config, servers, identity) as worker:
            worker.feed(frames)
            done = worker.finish()

    Args:
      program: path of ps-worker.
      config: path of the job file.
      servers: "host:port" of each server, in the job's order; none where the shards live in the workers.
      identity: which try at which partition.
      meeting: where the shards live in the workers: how this one meets the others; None otherwise.
      memory_bytes: what the worker may take of memory; None for what its net and the job's keys come to.
      spool_dir: folder for rows that have no room in memory, where the job names none; None for the worker's choice.
      log_file: where the worker writes its log; None for its standard error.
      on_event: called with each event, a dict, on a thread of its own.
      stall_timeout_s: a worker that takes no byte of the feed for so long, while it could, has failed. One that says
        that it waits for another attempt at its partition could not.
      grace_s: how long a worker that is told to end may take before it is killed.

    Everything but on_event happens on the calling thread. Failures are raised as WorkerFailed.
    """

    def __init__(self, program: str, config: str, servers: Sequence[str], identity: Identity, *,
                 meeting: Optional[Meeting] = None, memory_bytes: Optional[int] = None,
                 spool_dir: Optional[str] = None, log_file: Optional[str] = None,
                 on_event: Optional[Callable[[Dict], None]] = None,
                 stall_timeout_s: float = 300.0, grace_s: float = 5.0):
        self._program = program
        self._arguments = ["--config", config, "--partition", str(identity.partition),
                           "--stage-attempt", str(identity.stage_attempt), "--task-attempt", str(identity.task_attempt)]
        if meeting:
            self._arguments += ["--rendezvous", meeting.rendezvous, "--listen", meeting.listen]
        else:
            self._arguments += ["--servers", ",".join(servers)]
        if memory_bytes is not None:
            self._arguments += ["--memory-bytes", str(memory_bytes)]
        if spool_dir is not None:
            self._arguments += ["--spool-dir", spool_dir]
        self._identity = identity
        self._log_file = log_file
        self._on_event = on_event
        self._stall_timeout_s = stall_timeout_s
        self._grace_s = grace_s
        self._process: Optional[subprocess.Popen] = None
        self._readers: List[threading.Thread] = []
        self._noise = collections.deque(maxlen=TAIL_LINES)  # standard error, and lines of output that are no events
        self._ending: Dict[str, Dict] = {}                  # the events `done` and `failed`
        self._waited = float("-inf")                        # when it last said that it waits

    def __enter__(self) -> WorkerProcess:
        read_end, write_end = os.pipe()
        try:
            _enlarge(write_end)
            os.set_blocking(write_end, False)
            arguments = [self._program, *self._arguments, "--feed-fd", str(read_end)]
            if self._log_file:
                arguments += ["--log-file", self._log_file]
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                pass_fds=(read_end,), start_new_session=True)
        except OSError as error:
            os.close(write_end)
            raise self._failure(None, why_not_started(self._program, error)) from error
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        # Also ends the child where the interpreter exits without leaving the context.
        self._end = weakref.finalize(self, _end_child, self._process, write_end, self._grace_s)
        self._feed_fd = write_end
        self._feed = PipeWriter(write_end)
        self._readers = [threading.Thread(target=read, args=(stream,), daemon=True) for read, stream in (
            (self._read_events, self._process.stdout), (self._read_noise, self._process.stderr))]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_):
        self._end()
        for reader in self._readers:
            reader.join(self._grace_s)
        for stream, reader in zip((self._process.stdout, self._process.stderr), self._readers):
            if not reader.is_alive():
                stream.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def feed(self, frames: Iterable[Frame]) -> None:
        """Writes frames, and takes the next from `frames` as the worker accepts them. Their memory must not change any
        more; it is kept until the worker has read it."""
        for frame in frames:
            if not self._write(frame):
                return

    def finish(self) -> Dict:
        """Waits for the worker to end by itself; gives its `done` event. The feed stays open until then.

        A worker that holds shards stays up after that event, for as long as somebody needs them.
        """
        while self._process.poll() is None:
            self._wait_exit(_LOOK_S)
        return self._outcome()

    def _write(self, frame: Frame) -> bool:
        """Writes all of a frame. False if the worker has ended well without wanting it."""
        left = [part for part in frame if len(part)]
        poller = select.poll()
        poller.register(self._feed_fd, select.POLLOUT)
        moved = time.monotonic()
        while left:
            try:
                written = self._feed.write(left)
            except BlockingIOError:
                if poller.poll(_LOOK_S * 1000):
                    continue
                if self._process.poll() is not None:
                    self._outcome()
                    return False
                if time.monotonic() - max(moved, self._waited) > self._stall_timeout_s:
                    raise self._stop("it has taken no data for %g s" % self._stall_timeout_s,
                                     "it hangs, or waits for a server that does not answer") from None
                continue
            except BrokenPipeError:
                self._wait_exit(self._grace_s)
                if self._process.poll() is None:
                    raise self._stop("it closed the feed but did not end", "") from None
                self._outcome()
                return False
            moved = time.monotonic()
            left = unwritten(left, written)
        return True

    def _wait_exit(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def _outcome(self) -> Dict:
        """The `done` event of a worker that has exited, or its failure."""
        for reader in self._readers:
            reader.join(self._grace_s)
        status = self._process.returncode
        if status == 0 and "done" in self._ending:
            return self._ending["done"]
        if status == 0:
            raise self._failure(status, "it ended without having said that it is done")
        event = self._ending.get("failed", {})
        reason, hint = _STATUSES.get(status, ("it ended unexpectedly", ""))
        if status < 0:
            reason, hint = "it was killed", _SIGNALS.get(-status, "")
        hint = event.get("hint") or loader_hint("\n".join(self._noise)) or hint
        raise self._failure(status, event.get("reason") or reason, hint)

    def _stop(self, reason: str, hint: str) -> WorkerFailed:
        """Ends the worker, so that the failure can be raised with all that it said."""
        self._end()
        for reader in self._readers:
            reader.join(self._grace_s)
        return self._failure(None, reason, hint)

    def _failure(self, status: Optional[int], reason: str, hint: str = "") -> WorkerFailed:
        tail = tail_of(self._log_file) + list(self._noise)
        attempt = "%d.%d" % (self._identity.stage_attempt, self._identity.task_attempt)
        return WorkerFailed(self._identity.partition, attempt, socket.gethostname(), status, reason, hint, tail)

    def _read_events(self, stream) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").rstrip()
            try:
                event = json.loads(text)
                name = event["event"]
            except (ValueError, TypeError, KeyError):
                self._noise.append(text)
                continue
            if name in ("done", "failed"):
                self._ending[name] = event
            elif name == "waiting":
                self._waited = time.monotonic()
            if self._on_event:
                self._on_event(event)

    def _read_noise(self, stream) -> None:
        for line in stream:
            self._noise.append(line.decode("utf-8", "replace").rstrip())


def _end_child(process: subprocess.Popen, feed_fd: int, grace_s: float) -> None:
    """Ends a child and its group: by the closed feed, then SIGTERM, then SIGKILL."""
    os.close(feed_fd)
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None and process.poll() is None:
            _signal_group(process.pid, number)
        try:
            process.wait(grace_s if number != signal.SIGKILL else None)
            break
        except subprocess.TimeoutExpired:
            continue
    _signal_group(process.pid, signal.SIGKILL)  # what the child may have left behind in its group


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def _enlarge(pipe: int) -> None:
    """Gives a pipe a larger buffer where the system allows it (F_SETPIPE_SZ)."""
    try:
        fcntl.fcntl(pipe, 1031, _OPEN_FEED_BYTES)
    except OSError:
        pass


def tail_of(path: Optional[str]) -> List[str]:
    """The last lines of a file; none if it cannot be read."""
    if not path:
        return []
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 64 * 1024))
            return file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return []
