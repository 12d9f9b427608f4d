"""A real standalone cluster on loopback: a master and workers, as pyspark's own spark-class starts them."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pyspark

_START_S = 60


class Standalone:
    """A context manager, at whose end no process of it is left.

    url: for a session's master. folder: where drivers run. Each of `workers` has `cores` and takes executors of
    `memory` megabytes; each has a host of its own, 127.0.0.1, 127.0.0.2, ..., for Spark duplicates no task on the same.
    """

    def __init__(self, folder: pathlib.Path, workers: int = 2, cores: int = 1, memory: int = 1024):
        self._folder = self.folder = folder
        self._sizes = [(cores, memory)] * workers
        self._processes = []

    def __enter__(self):
        self._folder.mkdir(parents=True)
        master = self._start("master", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", "0",
                             "--webui-port", "0")
        self.url = self._await(master, r"Starting Spark master at (spark://\S+)").group(1)
        for index, size in enumerate(self._sizes):
            self.add_worker(index, *size)
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def add_worker(self, index: int, cores: int = 1, memory: int = 1024):
        work = self._folder / ("work-%d" % index)
        host = "127.0.0.%d" % (index + 1)
        log = self._start("worker-%d" % index, "org.apache.spark.deploy.worker.Worker", "--host", host, "--port", "0",
                          "--webui-port", "0", "--cores", str(cores), "--memory", "%dm" % memory,
                          "--work-dir", str(work), self.url, host=host)
        self._await(log, "Successfully registered with master")

    def executors(self):
        """Pids of the executors that run now."""
        return sorted(pid for pid, command in self._processes_here() if "CoarseGrainedExecutorBackend" in command)

    def executor_of(self, pid):
        """The executor that a process descends from."""
        executors = self.executors()
        while pid > 1 and pid not in executors:
            pid = int(pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[1])
        assert pid in executors
        return pid

    def programs(self):
        """Command lines of Downpour's programs that run now, for drivers of this folder or on executors."""
        return {pid: command for pid, command in self._processes_here()
                if re.match(r"\S*/ps-(run|server|worker) ", command)}

    def _processes_here(self):
        ours = (str(self._folder), str(self.folder))
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(ours):
                    yield int(entry.name), (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
            except OSError:
                pass

    def run(self, script: str, *arguments: str, timeout: float = 180, **environment: str) -> subprocess.CompletedProcess:
        """Runs a driver program, which finds the master's URL in MASTER; its output is text."""
        process = self.start(script, *arguments, **environment)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError("the driver has not ended after %g s:\n%s\n%s" % (timeout, out[-3000:], err[-3000:]))
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, script: str, *arguments: str, **environment: str) -> subprocess.Popen:
        path = self.folder / "driver.py"
        path.write_text(script)
        return subprocess.Popen([sys.executable, str(path), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=self.folder,
                                env={**self._environment(), **environment, "MASTER": self.url})

    def _environment(self, host: str = "127.0.0.1"):
        return {**os.environ, "SPARK_LOCAL_IP": host, "PYSPARK_PYTHON": sys.executable,
                "SPARK_LOCAL_DIRS": str(self._folder / "local"), "SPARK_NO_DAEMONIZE": "1"}

    def _start(self, name: str, *command: str, host: str = "127.0.0.1") -> pathlib.Path:
        spark_class = pathlib.Path(pyspark.__file__).parent / "bin" / "spark-class"
        log = self._folder / (name + ".log")
        with open(log, "wb") as out:
            self._processes.append(subprocess.Popen(
                [str(spark_class), *command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True, env={**self._environment(host), "SPARK_DAEMON_MEMORY": "256m"}))
        return log

    def _await(self, log: pathlib.Path, pattern: str):
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            found = re.search(pattern, log.read_text(errors="replace"))
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError("%s did not start:\n%s" % (log.stem, log.read_text(errors="replace")[-3000:]))

