"""ps-run as the supervisor of a job whose workers somebody else launches: it starts the servers or attaches to them, shows
progress, measures accuracy, and ends when the partitions are done or this process is gone."""
from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from .errors import TAIL_LINES, TrainingFailed
from .programs import RUN, find_program, loader_hint, why_not_found, why_not_started

START_TIMEOUT_S = 120.0
FINISH_TIMEOUT_S = 600.0
_GRACE_S = 10.0
_REASON_BYTES = 4096  # a pipe takes so much without waiting
_LOOK_S = 0.02


class Job(NamedTuple):
    """What the launcher needs of a job file, and all of it as ps-run resolved it.

    row_values: of a sample. outputs: values of a sample before the loss. classes: that labels count, 0 where they are
    numbers. strong: all its workers must run at once. peers: they hold the shards themselves.
    """
    path: str
    workers: int
    row_values: int
    outputs: int
    classes: int
    resolved: Dict[str, Any]
    strong: bool = False
    peers: bool = False


class RunningJob(NamedTuple):
    """Where a supervised job runs.

    strong: all its workers must run at once. rendezvous: where the shards live in the workers, "host:port" at which
    these meet; "" where servers hold them.
    """
    servers: Tuple[str, ...]
    job_file: str
    run_dir: str
    strong: bool
    rendezvous: str = ""


def check_job(path: str, program: Optional[str] = None, settings: Mapping[str, Any] = MappingProxyType({})) -> Job:
    """Reads and checks a job file by `ps-run --check --json`, with `settings` in place of its own keys of these paths.

    Raises TrainingFailed with ps-run's own message.
    """
    if "\n" in path:
        raise TrainingFailed("a job is named by the path of its file, on the driver; the estimators' job= takes YAML text"
                             " too")
    path = os.path.abspath(path)
    command = [_program(program), "--check", "--json", path, *_flags(settings)]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, errors="replace", check=False)
    except OSError as error:
        raise TrainingFailed(why_not_started(command[0], error)) from error
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        answer = {}
    if ended.returncode != 0 or not answer.get("ok"):
        raise TrainingFailed(_message(answer.get("error") or ended.stderr.strip() or ended.stdout.strip(),
                                      "%s was refused (status %d)" % (path, ended.returncode)))
    job, net = answer["job"], answer["net"]
    return Job(path, int(job["workers"]), net["values"], net["outputs"], net["classes"], job,
               bool(answer.get("strong")), bool(answer.get("peers")))


class Supervisor:
    """A running ps-run; a context manager, at whose end neither it nor a server is left.

        with Supervisor(job, run_dir) as supervisor:
            running = supervisor.wait_started()
            ...
            supervisor.wait_finished()

    Args:
      job: path of the job file.
      run_dir: the run's folder; None lets ps-run choose.
      program: path of ps-run; None for the one in the package.
      settings: in place of the job's own keys of these paths.
      attach: the servers run already, at the job's servers.addresses; they are neither started nor ended.
      on_event: takes what ps-run says, a dict an event, on a thread of its own; None to let ps-run write to this
        process's standard output.

    ps-run's standard error is passed on and its last lines are kept for error messages. It is in a session of its own, so
    that Ctrl-C reaches it through this class only.
    """

    def __init__(self, job: str, run_dir: Optional[str] = None, program: Optional[str] = None,
                 settings: Mapping[str, Any] = MappingProxyType({}), attach: bool = False,
                 on_event: Optional[Callable[[Dict[str, Any]], None]] = None):
        self._command = [_program(program), os.path.abspath(job), "--launcher", "external", *_flags(settings)]
        if attach:
            self._command.append("--attach")
        self._no_start = "the run could not begin on its servers" if attach else "the run could not begin"
        if run_dir:
            self._command += ["--run-dir", os.path.abspath(run_dir)]
        self._on_event = on_event
        if on_event:
            self._command.append("--json")
        self._run_dir: Optional[str] = None  # once it is known
        self._errors = collections.deque(maxlen=TAIL_LINES)

    def __enter__(self) -> Supervisor:
        self._folder = tempfile.TemporaryDirectory(prefix="downpour-")
        self._cluster_file = os.path.join(self._folder.name, "cluster.json")
        read_end, self._lifeline = os.pipe()
        sys.stdout.flush()
        try:
            self._process = subprocess.Popen(
                [*self._command, "--cluster-file", self._cluster_file, "--lifeline-fd", str(read_end)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if self._on_event else None, stderr=subprocess.PIPE,
                pass_fds=(read_end,), start_new_session=True)
        except OSError as error:
            os.close(self._lifeline)
            self._folder.cleanup()
            raise TrainingFailed(why_not_started(self._command[0], error)) from error
        finally:
            os.close(read_end)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (
            self._pass_errors_on, *((self._pass_events_on,) if self._on_event else ()))]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, _, error, __):
        self.stop("" if error is None else str(error) or type(error).__name__)
        for reader in self._readers:
            reader.join(_GRACE_S)
        self._folder.cleanup()

    def wait_started(self) -> RunningJob:
        """Waits until all servers, or the workers' rendezvous, listen.

        Raises TrainingFailed if ps-run ends before, or takes START_TIMEOUT_S.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not os.path.exists(self._cluster_file):
            if self._process.poll() is not None and not os.path.exists(self._cluster_file):
                raise self._ended(self._no_start)
            if time.monotonic() > deadline:
                raise TrainingFailed("%s within %g s" % (self._no_start, START_TIMEOUT_S))
            time.sleep(_LOOK_S)
        with open(self._cluster_file, encoding="utf-8") as file:
            cluster = json.load(file)
        if "error" in cluster:
            raise TrainingFailed("%s: %s" % (self._no_start, cluster["error"]))
        self._run_dir = cluster["run_dir"]
        return RunningJob(tuple(cluster["servers"]), cluster["job_file"], cluster["run_dir"],
                          bool(cluster["strong"]), cluster.get("rendezvous", ""))

    def wait_finished(self) -> None:
        """Waits until ps-run has ended well. Raises TrainingFailed if it does not, or takes FINISH_TIMEOUT_S."""
        deadline = time.monotonic() + FINISH_TIMEOUT_S
        while self._process.poll() is None:
            if time.monotonic() > deadline:
                raise TrainingFailed("all partitions are done, but ps-run has not ended for %g s" % FINISH_TIMEOUT_S)
            try:
                self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        if self._process.returncode != 0:
            raise self._ended("all partitions are done, but the run did not end well")

    def failure(self) -> Optional[TrainingFailed]:
        """Why ps-run has ended, if it has, and not well."""
        return self._ended("the job's supervisor ended") if self._process.poll() else None

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def is_done(self) -> bool:
        """Whether ps-run has ended well: all partitions were trained on, and the model is written."""
        return self._process.poll() == 0

    def summary(self) -> Dict[str, Any]:
        """The run's summary.json; empty as long as there is none."""
        try:
            with open(os.path.join(self._run_dir or "", "summary.json"), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def stop(self, reason: str = "") -> None:
        """Ends ps-run and its servers, if they run: by SIGTERM, then by the lifeline, then by SIGKILL.

        The first line of `reason` stands in the run's summary.
        """
        if self._lifeline is None:
            return
        if self._process.poll() is None:
            if reason:
                with contextlib.suppress(BrokenPipeError):  # it may be about to end by itself
                    os.write(self._lifeline, reason.splitlines()[0].encode("utf-8", "replace")[:_REASON_BYTES])
            self._process.send_signal(signal.SIGTERM)
            self._wait(_GRACE_S)
        os.close(self._lifeline)
        self._lifeline = None
        if self._process.poll() is None and not self._wait(1.0):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _wait(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def _ended(self, what: str) -> TrainingFailed:
        for reader in self._readers:
            reader.join(1.0)
        status = self._process.returncode
        errors = "\n".join(self._errors) or "; ".join(self.summary().get("problems", ()))
        hint = loader_hint(errors)
        if status == -signal.SIGKILL:
            hint = "this host ran out of memory, or somebody ended it"
        how = "was killed by signal %d" % -status if status < 0 else "ended with status %d" % status
        return TrainingFailed(_message(errors + ("\nlikely cause: " + hint if hint else ""),
                                       "%s: ps-run %s" % (what, how)))

    def _pass_errors_on(self) -> None:
        out = sys.__stderr__
        for line in self._process.stderr:
            text = line.decode("utf-8", "replace")
            self._errors.append(text.rstrip())
            if out is not None:
                out.write(text)
                out.flush()
        self._process.stderr.close()

    def _pass_events_on(self) -> None:
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self._on_event(event)
        self._process.stdout.close()


def _flags(settings: Mapping[str, Any]) -> List[str]:
    return [flag for key, value in settings.items() for flag in ("--set", "%s=%s" % (key, json.dumps(value)))]


def _program(explicit: Optional[str]) -> str:
    try:
        return find_program(RUN, explicit)
    except FileNotFoundError as error:
        raise TrainingFailed(why_not_found(error)) from error


def _message(detail: str, summary: str) -> str:
    return "%s: %s" % (summary, detail) if detail else summary
