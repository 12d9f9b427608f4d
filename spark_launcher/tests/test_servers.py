"""Where servers run, and the doctor, on a real standalone cluster."""
import importlib.util
import json
import pathlib
import signal
import subprocess

import pytest

import downpour

_spec = importlib.util.spec_from_file_location("standalone", pathlib.Path(__file__).with_name("standalone.py"))
_standalone = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_standalone)

JOB = """
name: placed
workers: 2
servers: {addresses: ["127.0.0.1:0", "127.0.0.1:0"]}
sync: {mode: bsp}
optimizer: {name: adam, learning_rate: 0.01}
training: {batch: 20, epochs: 5}
worker: {heartbeat_ms: 50, connect_timeout_ms: 2000}
run: {progress_ms: 50}
data: {shape: [10], scale: 1}
net:
  - {name: ip1, type: inner_product, outputs: 32}
  - {name: relu1, type: relu}
  - {name: ip2, type: inner_product, outputs: 3}
  - {name: loss, type: softmax_loss}
"""

PRELUDE = """
import json, os, pathlib, signal, sys, threading, time
import numpy as np
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
import downpour
from downpour.ml import DownpourClassifier

spark = (SparkSession.builder.master(os.environ["MASTER"]).config("spark.executor.memory", "512m")
         .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false").getOrCreate())
dice = np.random.default_rng(3)
features = dice.normal(size=(1000, 10)).astype(np.float32)
classes = (features @ dice.normal(size=(10, 3))).argmax(1)
df = spark.createDataFrame([(Vectors.dense(x), float(y)) for x, y in zip(features, classes)],
                           ["features", "label"]).repartition(2).cache()

def fit(**changes):
    model = DownpourClassifier(**{**dict(job="job.yaml", runDir="runs"), **changes}).fit(df)
    run = pathlib.Path(model.summary.run_dir)
    return {"result": model.summary.totals["result"], "logs": sorted(path.name for path in (run / "logs").iterdir()),
            "losses": model.summary.objectiveHistory}

def refused(action):
    try:
        action()
    except downpour.TrainingFailed as error:
        return str(error)
"""

TASKS = """
from downpour.doctor import examine

def servers():
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if b"/ps-server" in (entry / "cmdline").read_bytes() and os.readlink(entry / "cwd").startswith(sys.argv[1]):
                yield int(entry.name)
        except OSError:
            pass

def kill_one():
    while not any(line.count("progress") for path in pathlib.Path("long").glob("*/metrics.jsonl")
                  for line in path.read_text().splitlines()):
        time.sleep(0.05)
    os.kill(sorted(servers())[0], signal.SIGKILL)

seen = {"doctor": json.loads(examine(spark, "job.yaml", servers="tasks").to_json())}
seen["fit"] = fit(servers="tasks")
seen["left"] = list(servers())
threading.Thread(target=kill_one, daemon=True).start()
seen["killed"] = refused(lambda: fit(servers="tasks", maxIter=100000, syncMode="downpour", runDir="long"))
print(json.dumps(seen))
"""

RUNNING = """
addresses = sys.argv[1]
seen = {"fit": fit(servers=addresses), "again": refused(lambda: fit(servers=addresses))}
print(json.dumps(seen))
"""

DOCTOR = """
import os, sys
from downpour.doctor.__main__ import main
sys.exit(main([*sys.argv[1:], "--master", os.environ["MASTER"], "--conf", "spark.executor.memory=512m"]))
"""


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory):
    with _standalone.Standalone(tmp_path_factory.mktemp("servers") / "cluster", cores=2) as running:
        running.place = running.folder  # below which executors work
        yield running


@pytest.fixture
def cluster(_cluster, tmp_path):
    """The module's cluster, with a folder of the test's own for drivers."""
    _cluster.folder = tmp_path
    (tmp_path / "job.yaml").write_text(JOB)
    return _cluster


def last_line(ended):
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_servers_as_tasks(cluster):
    seen = last_line(cluster.run(PRELUDE + TASKS, str(cluster.place), timeout=400))
    assert seen["doctor"]["ok"] and seen["doctor"]["checks"][0]["found"] == "4 slots for 2 workers and 2 servers"
    assert seen["fit"]["result"] == "done" and seen["fit"]["losses"][-1] < seen["fit"]["losses"][0]
    assert seen["fit"]["logs"] == ["server-0.log", "server-1.log", "worker-0.log", "worker-1.log"]
    assert seen["left"] == []
    assert "failed: it was killed by signal 9" in seen["killed"] and seen["killed"].startswith("server ")


def test_servers_that_run_already(cluster):
    program = pathlib.Path(downpour.__file__).parent / "bin" / "ps-server"
    servers = [subprocess.Popen([program, "--config", cluster.folder / "job.yaml", "--index", str(index)],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for index in range(2)]
    try:
        addresses = [json.loads(server.stdout.readline())["address"] for server in servers]
        seen = last_line(cluster.run(PRELUDE + RUNNING, ",".join(addresses), timeout=400))
        assert seen["fit"]["result"] == "done" and seen["fit"]["losses"][-1] < seen["fit"]["losses"][0]
        assert seen["fit"]["logs"] == ["worker-0.log", "worker-1.log"]
        assert f"server 0 at {addresses[0]}: it holds what an earlier run trained" in seen["again"]
        assert [server.poll() for server in servers] == [None, None]
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
        assert [server.wait(15) for server in servers] == [0, 0]


@pytest.mark.long
def test_the_doctor_finds_what_will_fail(cluster):
    broken = cluster.folder / "ps-worker"
    broken.write_text("#!/bin/sh\necho 'error while loading shared libraries: libdnnl.so.2' >&2\nexit 127\n")
    broken.chmod(0o755)
    ended = cluster.run(DOCTOR, "--job", "job.yaml", "--workers", "5", "--worker-program", str(broken), "--wait", "1",
                        "--json")
    assert ended.returncode == 1, ended.stderr[-6000:]
    failing = {one["check"]: one for one in json.loads(ended.stdout)["checks"] if one["state"] == "fails"}
    assert set(failing) == {"slots", "program"}
    assert "must run at the same time" in failing["slots"]["found"]
    assert "a library that the program needs is not installed" in failing["program"]["found"]
