"""`python -m downpour.quickstart` with the native programs, on a small part of Fashion-MNIST."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from downpour.programs import RUN, find_program

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "configs", "fashion_mnist.yaml")
OWN = ("ps-run", "ps-server", "ps-worker", "java", "python")


def _programs_are_there():
    try:
        find_program(RUN)
        return True
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _programs_are_there(), reason="the package was installed without its programs")


@pytest.fixture
def job(tmp_path):
    """A job of so many epochs on 3200 samples, with whatever else is replaced in its text."""
    def write(epochs=1, replace=()):
        with open(CONFIG, encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r"(?m)^( +)epochs:.*$", r"\1epochs: %d" % epochs, text)
        text = re.sub(r"(?m)^data:.*$", "data:\n  limit: 3200", text)
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return str(path)
    return write


def start(job, run_dir, **options):
    return subprocess.Popen([sys.executable, "-m", "downpour.quickstart", job, "--run-dir", str(run_dir)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            **options)


def family(session):
    """Processes that descend from a process, by the sessions and the parents they were seen with."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            parents[int(name)] = int(fields[1])
    found = {session}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} | found
        if more == found:
            return found & set(parents)
        found = more


def test_it_trains(job, tmp_path):
    process = start(job(epochs=12), tmp_path / "run")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["accuracy"] > 0.3
    logs = {path.name for path in (tmp_path / "run" / "logs").iterdir()}
    assert {"spark.log", "worker-0.log", "worker-1.log", "server-0.log"} <= logs
    assert "WARN" not in output and "Using Spark" not in output


@pytest.mark.parametrize("moment", ["starting spark", "training"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(job, tmp_path, running, moment, number):
    process = start(job(epochs=1000), tmp_path / "run")
    deadline = time.monotonic() + 120
    seen = set()
    while time.monotonic() < deadline:
        seen |= family(process.pid)
        if moment == "starting spark" and len(seen) > 1:
            break
        if (tmp_path / "run" / "logs" / "worker-1.log").exists():
            break
        time.sleep(0.05)
    time.sleep(1)
    seen |= family(process.pid)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    seen |= family(process.pid)
    deadline = time.monotonic() + 5
    while any(map(running, seen)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in seen if running(pid)] == []


def test_a_killed_driver_leaves_nothing(job, tmp_path, running):
    process = start(job(epochs=1000), tmp_path / "run")
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "logs" / "worker-1.log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    seen = family(process.pid)
    assert len(seen) > 4
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any(map(running, seen)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in seen if running(pid)] == []


@pytest.mark.parametrize("old, new, message", [
    ("momentum", "momentun", "momentun"), ("train-labels-idx1", "train-images-idx3", "train-images"),
    ("train-images-idx3", "train-nothing", "train-nothing")])
def test_a_wrong_job_is_one_clear_error(job, tmp_path, old, new, message):
    process = start(job(replace=[(old, new)]), tmp_path / "run")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert message in output and "Traceback" not in output and "org.apache" not in output
