"""What the end-to-end tests share: the real binaries, small jobs, and a watch over processes."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARIES = REPOSITORY / "dist" / "bin"
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")

SMALL_NET = """
net:
  - {name: ip1, type: inner_product, outputs: 32}
  - {name: relu, type: relu}
  - {name: ip2, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
"""


def job_text(**changes):
    """A small job on Fashion-MNIST; `changes` replace its top-level sections."""
    sections = {
        "name": "small",
        "workers": "2",
        "servers": "{addresses: ['127.0.0.1:0', '127.0.0.1:0'], shards: 2}",
        "sync": "{mode: downpour}",
        "optimizer": "{name: sgd, learning_rate: 0.02}",
        "training": "{batch: 64, epochs: 2}",
        "data": data_section(),
        "run": "{evaluations: 2, progress_ms: 50}",
        "worker": "{heartbeat_ms: 50}",
    }
    sections.update(changes)
    net = sections.pop("net", SMALL_NET)
    return "".join(f"{key}: {value}\n" for key, value in sections.items()) + net


def data_section(limit=4000, train_images=None, train_labels=None):
    return (
        "{train: {images: %s, labels: %s}, test: {images: %s, labels: %s}, limit: %d}"
        % (
            train_images or FASHION / "train-images-idx3-ubyte.gz",
            train_labels or FASHION / "train-labels-idx1-ubyte.gz",
            FASHION / "t10k-images-idx3-ubyte.gz",
            FASHION / "t10k-labels-idx1-ubyte.gz",
            limit,
        )
    )


# Long enough that something can happen to it; every test that uses it ends it.
LONG = "{batch: 64, epochs: 100000}"


def free_address():
    """An address that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % holder.getsockname()[1]


def metrics(address):
    """A page of /metrics: by the text before each value, which is the name with its labels."""
    page = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def total(pages, name, label=""):
    """The sum of a metric over pages of /metrics, where its labels contain the text."""
    return sum(value for page in pages for key, value in page.items()
               if key.split("{")[0] == name and label in key)


class Workplace:
    """A folder for one test, and the processes that were started with it in their command lines."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def job(self, **changes):
        path = self.folder / "job.yaml"
        path.write_text(job_text(**changes))
        return path

    def start(self, program, *arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        process = subprocess.Popen(
            [str(BINARIES / program), *map(str, arguments)], text=True, cwd=self.folder, **options
        )
        self.started.append(process)
        return process

    def run(self, program, *arguments, timeout=120):
        process = self.start(program, *arguments)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def ps_run(self, job, *arguments, timeout=120):
        """Runs a job; its events and the run folder."""
        run = self.folder / "run"
        result = self.run("ps-run", job, "--json", "--run-dir", run, *arguments, timeout=timeout)
        events = [json.loads(line) for line in result.stdout.splitlines()]
        return result, events, run

    def serve(self, job, index=0, *arguments):
        """Starts a ps-server; the process and what it said when it listened."""
        server = self.start("ps-server", "--config", job, "--index", index, *arguments)
        line = server.stdout.readline()
        assert line, server.stderr.read()
        return server, json.loads(line)

    def serve_all(self, job, count=2):
        """Starts all servers of a job; --servers for its workers, and the addresses of /metrics."""
        listening = [self.serve(job, index)[1] for index in range(count)]
        return ",".join(each["address"] for each in listening), [each["metrics"] for each in listening]

    def wait_for_event(self, process, name, seen=None):
        """Reads a process's JSON lines up to the first event of that name."""
        for line in process.stdout:
            event = json.loads(line)
            if seen is not None:
                seen.append(event)
            if event["event"] == name:
                return event
        raise AssertionError(f"ended without {name}: {process.stderr.read()}")

    def wait_until(self, condition, seconds=15):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not come to that in time"
            time.sleep(0.02)

    def processes(self):
        """Command lines of Downpour's processes that work in this folder."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.folder) in command and "/ps-" in command and state != "Z":
                found[int(entry.name)] = command
        return found

    def pids_of(self, program):
        return [pid for pid, command in self.processes().items() if command.split()[0].endswith(program)]

    def wait_until_quiet(self, seconds=15):
        deadline = time.monotonic() + seconds
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.processes()

    def close(self):
        left = self.wait_until_quiet(0)
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        return left
