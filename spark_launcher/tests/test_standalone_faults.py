"""What Spark does to tasks, on a real standalone cluster: retries, duplicates, waves, executors that come and go."""
import collections
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

_spec = importlib.util.spec_from_file_location("standalone", pathlib.Path(__file__).with_name("standalone.py"))
_standalone = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_standalone)

REPLAY = pathlib.Path(__file__).resolve().parents[2] / "dist" / "bin" / "ps-replay"
EPOCHS = 200  # of what is to be killed in the middle

# What each driver program begins with. A DataFrame has as many partitions as `sizes`, each of so many rows, which
# `make` computes anew in each try: make(partition, try, size) yields (features, labels).
PRELUDE = """
import json, os, pathlib, signal, sys, threading, time
import numpy as np
import pandas as pd
import downpour
from pyspark.sql import SparkSession

HERE = pathlib.Path.cwd()

def session(**settings):
    builder = (SparkSession.builder.master(os.environ["MASTER"]).config("spark.executor.memory", "512m")
               .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false"))
    for key, value in settings.items():
        builder = builder.config("spark." + key.replace("_", "."), value)
    return builder.getOrCreate()

def rows(partition, size, width=10):
    features = np.random.default_rng(partition).normal(size=(size, width)).astype(np.float32)
    return features, (features @ np.random.default_rng(99).normal(size=(width, 3))).argmax(1)

def plain(partition, tries, size):
    yield rows(partition, size)

def frame(name, sizes, make=plain):
    def source(batches):
        for batch in batches:
            for partition in batch.id:
                tries = 0
                while True:  # a file for each try at a partition, whatever executor it is on
                    try:
                        os.close(os.open(HERE / ("%s-%d-try-%d" % (name, partition, tries)), os.O_CREAT | os.O_EXCL))
                        break
                    except FileExistsError:
                        tries += 1
                for features, labels in make(partition, tries, sizes[partition]):
                    if len(labels):
                        yield pd.DataFrame({"features": list(features), "label": labels})
    return spark.range(0, len(sizes), 1, len(sizes)).mapInPandas(source, "features array<float>, label int")

def job(name, workers, mode, epochs, **sections):
    text = '''
        name: %s
        workers: %d
        servers: {addresses: ["127.0.0.1:0", "127.0.0.1:0"], shards: 2}
        sync: {mode: %s}
        optimizer: {name: sgd, learning_rate: 0.02}
        training: {batch: 20, epochs: %d}
        data: {shape: [10], scale: 1}
        worker: {heartbeat_ms: 50, lease_ms: 2000}
        run: {dir: runs, record: true, progress_ms: 50, evaluations: 0}
        net:
          - {name: ip1, type: inner_product, outputs: 32}
          - {name: relu1, type: relu}
          - {name: ip2, type: inner_product, outputs: 3}
          - {name: loss, type: softmax_loss}
    ''' % (name, workers, mode, epochs)
    path = HERE / (name + ".yaml")
    path.write_text(text)
    return str(path)

def train(name, sizes, mode, epochs, make=plain):
    try:
        result = downpour.train(frame(name, sizes, make), job(name, len(sizes), mode, epochs))
    except downpour.TrainingFailed as error:
        return {"error": type(error).__name__, "text": str(error), "runs": len(list(HERE.glob("runs/%s-*" % name)))}
    return {"run": result.run_dir, "summary": result.summary, "partitions": result.partitions,
            "retries": result.retries}

def once_it_trains(name, then):
    def watch():
        while True:
            for metrics in HERE.glob("runs/%s-*/metrics.jsonl" % name):
                if any('"progress"' in line and json.loads(line)["epoch"] > 1 for line in open(metrics)):
                    return then()
            time.sleep(0.02)
    threading.Thread(target=watch, daemon=True).start()

def kill_worker(name, partition):
    log = str(HERE / "runs" / name)
    for entry in pathlib.Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text() if entry.name.isdigit() else ""
            if "/ps-worker" in command and log in command and "/worker-%d.log" % partition in command:
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            pass
"""

# Speculation as eager as it gets: whoever is slower than half of the others is duplicated.
FAULTS = """
spark = session(speculation="true", speculation_interval="100ms", speculation_quantile="0.5",
                speculation_multiplier="1.1", speculation_efficiency_enabled="false")
epochs = int(sys.argv[1])
seen = {}

def slow(partition, tries, size):
    features, labels = rows(partition, size)
    yield features[:size // 2], labels[:size // 2]
    time.sleep(6 if partition == 2 else 0)
    yield features[size // 2:], labels[size // 2:]
seen["waves"] = train("waves", [0, 20, 2000, 20, 20, 20], "asp", 5, slow)

seen["uneven"] = train("uneven", [0, 20, 2000], "bsp", 5)

def fails_once(partition, tries, size):
    features, labels = rows(partition, size)
    yield features[:100], labels[:100]
    if partition == 0 and tries == 0:
        raise ValueError("not yet")
    yield features[100:], labels[100:]
once_it_trains("once", lambda: kill_worker("once", 1))
seen["once"] = train("once", [400, 400], "asp", epochs, fails_once)

def too_wide(partition, tries, size):
    yield rows(partition, size, 11 + tries if partition == 1 else 10)
seen["always"] = train("always", [100, 100], "asp", 2, too_wide)

def shrinks(partition, tries, size):
    yield rows(partition, size if tries == 0 else size - 20)
once_it_trains("shrinks", lambda: kill_worker("shrinks", 0))
seen["shrinks"] = train("shrinks", [400], "asp", epochs, shrinks)

sys.modules["downpour.slots"].EXECUTORS_S = 1.0
seen["slots"] = train("slots", [20] * 5, "bsp", 1)
print(json.dumps(seen))
"""

DYNAMIC = """
spark = session(executor_cores="1", dynamicAllocation_enabled="true", dynamicAllocation_shuffleTracking_enabled="true",
                dynamicAllocation_initialExecutors="1", dynamicAllocation_minExecutors="1",
                dynamicAllocation_maxExecutors="2")
seen = {"strong": train("strong", [20, 20], "bsp", 1)}

def slow(partition, tries, size):
    time.sleep(4)
    yield rows(partition, size)
executors = []
def watch():
    while True:
        executors.append(len(spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()) - 1)  # the driver is one
        time.sleep(0.1)
threading.Thread(target=watch, daemon=True).start()
seen["weak"] = train("weak", [100, 300, 200, 100], "downpour", 5, slow)
seen["executors"] = executors
print(json.dumps(seen))
"""

ENDLESS = """
spark = session()
train("endless", [400, 400], "asp", 1000000)
"""


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory):
    with _standalone.Standalone(tmp_path_factory.mktemp("faults") / "cluster", cores=2) as running:
        yield running


def last_line(ended):
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def faults(_cluster, tmp_path_factory):
    """What each of the FAULTS came to."""
    _cluster.folder = tmp_path_factory.mktemp("drivers")
    return last_line(_cluster.run(PRELUDE + FAULTS, str(EPOCHS)))


def server_log(seen):
    return (pathlib.Path(seen["run"]) / "logs" / "server-0.log").read_text()


def assert_each_row_once(seen, sizes, epochs):
    assert "error" not in seen, seen["text"]
    summary = seen["summary"]
    assert summary["result"] == "done"
    assert summary["samples"] == epochs * sum(sizes)
    assert [worker["samples"] for worker in summary["workers"]] == [epochs * size for size in sizes]
    assert [result[0] for result in seen["partitions"]] == list(range(len(sizes)))
    assert [result[2] for result in seen["partitions"]] == [epochs * size for size in sizes]


def test_more_partitions_than_slots_an_empty_one_and_one_a_hundred_times_larger(faults):
    assert_each_row_once(faults["waves"], [0, 20, 2000, 20, 20, 20], 5)


def test_a_strong_mode_with_an_empty_partition_and_one_a_hundred_times_larger(faults):
    assert_each_row_once(faults["uneven"], [0, 20, 2000], 5)


def test_a_speculative_duplicate_waits_for_the_first_attempt(faults):
    seen = faults["waves"]
    waiting = re.findall(r"attempt (\d+\.\d+) \(.*\) has to wait: worker 2 \(.*attempt (\d+\.\d+)\) holds the"
                         " partition", server_log(seen))
    assert len(waiting) == 1 and waiting[0][0] > waiting[0][1]
    assert len(re.findall("worker 2 .* joined", server_log(seen))) == 1
    # The duplicate failed nobody, and what the partition came to is the first attempt's.
    assert seen["retries"] == [] and seen["summary"]["problems"] == []
    epochs = seen["partitions"][2][5]
    assert len(epochs) == 5 and None not in [train for train, _ in epochs]


def test_a_task_that_fails_once_is_made_up_for_and_told_of(faults):
    seen = faults["once"]
    assert_each_row_once(seen, [400, 400], EPOCHS)
    retries = {partition: (attempt, host, reason) for partition, attempt, host, reason in seen["retries"]}
    assert len(seen["retries"]) == 2
    assert retries[0][2] == "ValueError: not yet"
    assert retries[1][2] == "it was killed"
    assert all(re.fullmatch(r"0\.\d+", attempt) and host for attempt, host, _ in retries.values())
    # The servers know of the same.
    assert [len(worker["ended"]) for worker in seen["summary"]["workers"]] == [1, 1]
    assert seen["summary"]["workers"][1]["ended"][0]["state"] == "lost"


def test_with_failing_tasks_each_push_is_applied_exactly_once(faults):
    ended = subprocess.run([str(REPLAY), faults["once"]["run"], "--events", "--json"], stdout=subprocess.PIPE,
                           text=True, timeout=60, check=True)
    applied = collections.defaultdict(list)  # sequences, by part and partition
    for event in map(json.loads, ended.stdout.splitlines()):
        if event["what"] == "push" and event["decided"].startswith("update"):
            applied[event["part"], event["worker"]].append(event["sequence"])
    assert {worker for _, worker in applied} == {0, 1}
    for sequences in applied.values():
        assert sequences == list(range(1, len(sequences) + 1))
    assert len(set(map(len, applied.values()))) == 1  # each part has all of them
    assert sum(map(len, applied.values())) == faults["once"]["summary"]["part_pushes"]


def test_the_first_failed_attempt_is_named_and_the_others_listed(faults):
    seen = faults["always"]
    assert seen["error"] == "WorkerFailed"
    lines = seen["text"].splitlines()
    assert re.match(r"worker of partition 1 on \S+, attempt 0\.\d+, failed: .*has 11 values", lines[0])
    others = [re.match(r"    partition 1, attempt 0\.\d+ on \S+: .* has (\d+) values", line)
              for line in lines[lines.index("other attempts that failed:") + 1:]]
    assert [match.group(1) for match in others if match][:3] == ["12", "13", "14"]
    assert "its last log lines:" in lines and "its launcher is gone: the feed closed" in lines[-1]


def test_a_partition_that_has_other_rows_when_it_is_tried_again(faults):
    seen = faults["shrinks"]
    assert seen["error"] == "WorkerFailed"
    assert re.match(r"worker of partition 0 .* failed: it was killed \(signal 9\)", seen["text"])
    assert "partition 0 has 380 rows, and had 400 for an earlier attempt" in seen["text"]


def test_too_few_slots_are_told_before_anything_starts(faults):
    seen = faults["slots"]
    assert "Spark has fewer slots than the job has workers" in seen["text"] and "(4 slots, 5 workers)" in seen["text"]
    assert seen["runs"] == 0


@pytest.mark.long
def test_dynamic_allocation_with_an_executor_that_joins_late(_cluster, tmp_path):
    _cluster.folder = tmp_path
    seen = last_line(_cluster.run(PRELUDE + DYNAMIC))
    assert "refuses with dynamic allocation" in seen["strong"]["text"] and seen["strong"]["runs"] == 0
    assert_each_row_once(seen["weak"], [100, 300, 200, 100], 5)
    running = [count for count in seen["executors"] if count > 0]  # the first may come after the session
    assert running[0] == 1 and max(running) == 2


def test_a_driver_that_is_killed_leaves_nothing(_cluster, tmp_path):
    _cluster.folder = tmp_path
    driver = _cluster.start(PRELUDE + ENDLESS)
    deadline = time.monotonic() + 120
    # ps-run, two servers and two workers, one of which may be well ahead of the other.
    while len(_cluster.programs()) < 1 + 2 + 2 or not any(
        '"progress"' in path.read_text() for path in tmp_path.glob("runs/*/metrics.jsonl")
    ):
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)  # with its JVM; ps-run has a session of its own
    killed = time.monotonic()
    while _cluster.programs() or _cluster.executors():
        assert time.monotonic() < killed + 20, (_cluster.programs(), _cluster.executors())
        time.sleep(0.05)
    driver.communicate()
