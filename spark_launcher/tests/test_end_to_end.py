"""A real local Spark, real servers and real workers, on Fashion-MNIST."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import downpour
from downpour.errors import TrainingFailed, WorkerFailed
from downpour.idx import read_idx

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
IMAGES = str(FASHION / "train-images-idx3-ubyte.gz")
LABELS = str(FASHION / "train-labels-idx1-ubyte.gz")
ROWS = 4000


@pytest.fixture
def job_file(tmp_path):
    """Writes a small job; its servers, workers and runs are this test's own."""
    def write(**changes):
        job = {
            "name": "spark",
            "workers": 2,
            "servers": {"addresses": ["127.0.0.1:0", "127.0.0.1:0"], "shards": 2},
            "sync": {"mode": "downpour"},
            "optimizer": {"name": "sgd", "learning_rate": 0.02},
            "training": {"batch": 64, "epochs": 2},
            "worker": {"heartbeat_ms": 50},
            "data": {"test": {"images": str(FASHION / "t10k-images-idx3-ubyte.gz"),
                              "labels": str(FASHION / "t10k-labels-idx1-ubyte.gz")}},
            "run": {"dir": str(tmp_path / "runs"), "evaluations": 1, "progress_ms": 50},
            "net": [{"name": "ip1", "type": "inner_product", "outputs": 32}, {"name": "relu", "type": "relu"},
                    {"name": "ip2", "type": "inner_product", "outputs": 10},
                    {"name": "loss", "type": "softmax_loss"}],
        }
        job.update(changes)
        path = tmp_path / "job.yaml"
        path.write_text(json.dumps(job))
        return str(path)
    return write


@pytest.fixture(autouse=True)
def nobody_is_left(tmp_path):
    """No Downpour process of this test outlives it."""
    yield
    deadline = time.monotonic() + 15
    while left_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_in(tmp_path)


def left_in(folder):
    """Command lines of the ps-* processes whose files are in `folder`, or whose job is a launcher's temporary one."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and os.path.basename(command[0]) in ("ps-server", "ps-worker", "ps-run"):
                    if any(str(folder) in argument for argument in command):
                        found[int(entry.name)] = command
        except OSError:
            pass
    return found


def fashion(spark, partitions=2, rows=ROWS):
    return read_idx(spark, IMAGES, LABELS, partitions, rows)


def model_of(result):
    """All parameters of a run's model."""
    data = (pathlib.Path(result.run_dir) / "model.safetensors").read_bytes()
    return np.frombuffer(data, "<f4", offset=8 + int.from_bytes(data[:8], "little"))


def noting_barrier(frame, folder):
    """The same rows; each task leaves a file that says whether its stage is a barrier."""
    def note(batches):
        from pyspark import BarrierTaskContext, TaskContext
        context = TaskContext.get()
        kind = "barrier" if isinstance(context, BarrierTaskContext) else "ordinary"
        (pathlib.Path(folder) / ("stage-%d" % context.partitionId())).write_text(kind)
        yield from batches
    return frame.mapInArrow(note, frame.schema)


@pytest.mark.parametrize("sync, stage", [
    ({"mode": "downpour"}, "ordinary"),
    ({"mode": "asp"}, "ordinary"),
    ({"mode": "ssp", "s": 2}, "ordinary"),
    ({"mode": "easgd", "tau": 4}, "ordinary"),
    ({"mode": "easgd", "tau": 4, "rounds": True}, "barrier"),
    ({"mode": "local_sgd", "tau": 4}, "barrier"),
    ({"mode": "bsp"}, "barrier"),
    ({"mode": "peer"}, "barrier"),
], ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value)
def test_strong_modes_run_as_a_barrier_stage_and_others_as_an_ordinary_one(spark, job_file, tmp_path, sync, stage):
    job = job_file(sync=sync, training={"batch": 50, "epochs": 2}, **peers_job(sync["mode"]))
    result = downpour.train(noting_barrier(fashion(spark, rows=1000), tmp_path), job)
    assert result.summary["result"] == "done" and result.summary["accuracy"] is not None
    assert [(part.partition, part.samples) for part in result.partitions] == [(0, 1000), (1, 1000)]
    assert [(tmp_path / ("stage-%d" % i)).read_text() for i in range(2)] == [stage, stage]


def peers_job(mode):
    """What a job says besides, where the shards live in the workers."""
    return {"servers": {"shards": 2}} if mode == "peer" else {}


@pytest.mark.parametrize("mode", ["downpour", "asp", "bsp", "peer"])
def test_spark_partitions_train_one_net(spark, job_file, mode):
    result = downpour.train(fashion(spark), job_file(sync={"mode": mode}, **peers_job(mode)))
    assert result.summary["result"] == "done"
    assert result.summary["accuracy"] > 0.3
    assert [(part.partition, part.samples) for part in result.partitions] == [(0, ROWS), (1, ROWS)]
    run = pathlib.Path(result.run_dir)
    servers = [] if mode == "peer" else ["server-0.log", "server-1.log"]
    assert sorted(path.name for path in (run / "logs").iterdir()) == servers + ["worker-0.log", "worker-1.log"]
    assert (run / "model.safetensors").exists() and (run / "plot.png").exists()


def test_floats_train_like_bytes(spark, job_file):
    from pyspark.sql import functions as F
    bytes_of = F.udf(lambda value: [byte / 256 for byte in value], "array<float>")
    frame = fashion(spark, rows=1000).select(bytes_of("features").alias("features"), "label")
    result = downpour.train(frame, job_file(sync={"mode": "bsp"}, data={"scale": 1}, training={"batch": 50}))
    same = downpour.train(fashion(spark, rows=1000), job_file(sync={"mode": "bsp"}, training={"batch": 50}, data={}))
    np.testing.assert_allclose(model_of(result), model_of(same), atol=1e-6)


def test_an_rdd_of_pairs(spark, job_file):
    random = np.random.default_rng(1)
    pairs = [(random.integers(0, 255, 784, dtype=np.uint8), int(label)) for label in random.integers(0, 10, 600)]
    result = downpour.train_on_rdd(spark.sparkContext.parallelize(pairs, 2), job_file())
    assert result.summary["samples"] == 1200


def test_workers_share_an_executors_memory_overhead(spark, job_file):
    """1 GiB for two tasks at once, as the session says: three quarters of the half, without 128 MiB for Python."""
    result = downpour.train(fashion(spark, rows=200), job_file())
    for partition in range(2):
        log = (pathlib.Path(result.run_dir) / "logs" / ("worker-%d.log" % partition)).read_text()
        assert "this process takes at most %d" % ((1024 * 3 // 4 // 2 - 128) << 20) in log


def test_an_empty_partition_is_no_error(spark, job_file):
    frame = fashion(spark, rows=1000).where("id < 500")  # all of them in the first of two partitions
    result = downpour.train(frame, job_file())
    assert result.summary["result"] == "done"
    assert sorted(part.samples for part in result.partitions) == [0, 1000]


@pytest.mark.parametrize("mode", ["downpour", "peer"])
def test_a_label_out_of_range_is_one_exception_with_the_row(spark, job_file, mode):
    frame = fashion(spark, rows=200).selectExpr("features", "if(id = 150, 10, label) as label")
    with pytest.raises(WorkerFailed) as caught:
        downpour.train(frame, job_file(sync={"mode": mode}, **peers_job(mode)))
    message = str(caught.value)
    assert "partition 1" in message and "label" in message and "50" in message and "10" in message
    assert "Traceback" not in message


def test_a_null_is_named_with_its_column_and_row(spark, job_file):
    frame = fashion(spark, rows=200).selectExpr("if(id = 3, null, features) as features", "label")
    with pytest.raises(WorkerFailed, match="column 'features', row 3 of the partition, is null"):
        downpour.train(frame, job_file())


def test_the_run_folder_knows_why_too(spark, job_file, tmp_path):
    frame = fashion(spark, rows=200).selectExpr("if(id = 3, null, features) as features", "label")
    with pytest.raises(WorkerFailed):
        downpour.train(frame, job_file())
    (summary,) = tmp_path.glob("runs/*/summary.json")
    (problem,) = json.loads(summary.read_text())["problems"][-1:]
    assert "worker of partition 0" in problem and "column 'features', row 3 of the partition, is null" in problem


@pytest.mark.parametrize("mode, less", [("downpour", "where"), ("bsp", "where"), ("bsp", "limit")])
def test_no_rows_at_all_are_said_to_be_none(spark, job_file, mode, less):
    frame = fashion(spark, rows=100)
    # Of limit(0) Spark knows that it is empty, and starts no task.
    frame = frame.where("label > 9") if less == "where" else frame.limit(0)
    with pytest.raises(TrainingFailed, match="there are no rows to train on"):
        downpour.train(frame, job_file(sync={"mode": mode}), repartition_random_shuffle=True)


def test_rows_whose_weights_are_nothing(spark, job_file):
    with pytest.raises(TrainingFailed, match="the rows' weights add up to 0"):
        downpour.train(fashion(spark, rows=100).selectExpr("*", "0 as w"), job_file(), weight_col="w")


def test_floats_scaled_as_bytes_are_remarked_on(spark, job_file, capfd):
    frame = fashion(spark, rows=100).selectExpr("transform(sequence(1, 784), i -> cast(i as float)) as features", "label")
    downpour.train(frame, job_file())
    assert "set data: {scale: 1} unless" in capfd.readouterr().out
    downpour.train(frame, job_file(data={"scale": 1}))
    assert "set data: {scale: 1} unless" not in capfd.readouterr().out


def test_images_of_another_size_are_refused(spark, job_file):
    with pytest.raises(WorkerFailed, match="has 784 values: the job's data.shape makes it 1024"):
        downpour.train(fashion(spark, rows=200), job_file(data={"shape": [1, 32, 32]}))


def test_a_strong_job_with_more_workers_than_slots_is_refused_before_it_waits(spark, job_file):
    begun = time.monotonic()
    with pytest.raises(TrainingFailed, match="slots"):
        downpour.train(fashion(spark, 3), job_file(workers=3, sync={"mode": "bsp"}))
    assert time.monotonic() - begun < 60


def test_a_weak_job_runs_in_waves(spark, job_file):
    # More partitions than the two slots: the third worker starts when one of the first has finished.
    result = downpour.train(fashion(spark, 3, 3000), job_file(workers=3))
    assert result.summary["samples"] == 6000


LONG = {"batch": 64, "epochs": 100000}


def once_it_trains(folder, then):
    """Starts a thread that calls `then` with the pid of the worker of partition 1 once that one has its samples."""
    def watch():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            logs = list(folder.glob("runs/*/logs/worker-1.log"))
            if logs and "samples" in logs[0].read_text():
                for pid, command in left_in(folder).items():
                    if command[0].endswith("ps-worker") and "--partition\x001" in "\0".join(command):
                        then(pid)
                        return
            time.sleep(0.05)
    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def kill(pid):
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("mode", ["downpour", "bsp", "peer"])
def test_a_killed_worker_ends_the_stage_with_one_exception(spark, job_file, tmp_path, mode):
    job = job_file(training=LONG, sync={"mode": mode}, **peers_job(mode))
    killer = once_it_trains(tmp_path, kill)
    with pytest.raises(WorkerFailed) as caught:
        downpour.train(fashion(spark), job)
    killer.join()
    assert (caught.value.partition, caught.value.status) == (1, -signal.SIGKILL)
    assert "killed" in str(caught.value)


@pytest.mark.parametrize("mode", ["downpour", "peer"])
def test_an_interrupt_ends_servers_and_workers(spark, job_file, tmp_path, mode):
    job = job_file(training=LONG, sync={"mode": mode}, **peers_job(mode))
    thread = once_it_trains(tmp_path, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        downpour.train(fashion(spark), job)
    thread.join()


RETRYING = """
import json, sys
import downpour
from downpour.errors import WorkerFailed
from downpour.idx import read_idx
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master('local[2,4]').config('spark.ui.enabled', 'false')
         .config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1').getOrCreate())
df = read_idx(spark, sys.argv[2], sys.argv[3], 2, 4000)
try:
    print('RESULT', json.dumps([downpour.train(df, sys.argv[1]).summary['result']]))
except WorkerFailed as failure:
    print('RESULT', json.dumps([failure.partition, failure.status, failure.hint]))
"""


@pytest.mark.parametrize("mode", ["bsp", "peer"])
def test_a_barrier_stage_is_tried_again_where_that_can_help(tmp_path, job_file, mode):
    """Where servers hold the parameters it is; where the killed worker held some, the job has to begin again."""
    job = job_file(training={"batch": 16, "epochs": 15}, sync={"mode": mode}, **peers_job(mode))
    script = tmp_path / "mine.py"
    script.write_text(RETRYING)
    killer = once_it_trains(tmp_path, kill)
    ended = subprocess.run([sys.executable, str(script), job, IMAGES, LABELS], capture_output=True, text=True,
                           timeout=240)
    killer.join()
    results = [line for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
    assert results, ended.stdout[-2000:] + ended.stderr[-4000:]
    result = json.loads(results[0][len("RESULT "):])
    if mode == "bsp":
        assert result == ["done"]
    else:
        assert result[:2] == [1, -signal.SIGKILL]
        assert "the job has to begin again" in result[2]


def test_a_job_file_that_is_wrong_is_refused_with_its_line(spark, job_file):
    with pytest.raises(TrainingFailed, match=r"job\.yaml:1: sync\.n_fech: unknown key"):
        downpour.train(fashion(spark), job_file(sync={"mode": "downpour", "n_fech": 5}))


def test_a_script_of_ones_own_needs_no_switches(tmp_path, job_file):
    """As README has it: this Python, no PYSPARK_PYTHON, and another python3 first on the path."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys\n"
        "import downpour\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.master('local[2]').config('spark.ui.enabled', 'false')"
        ".config('spark.driver.host', '127.0.0.1').config('spark.driver.bindAddress', '127.0.0.1').getOrCreate()\n"
        "from downpour.idx import read_idx\n"
        f"df = read_idx(spark, {IMAGES!r}, {LABELS!r}, 2, 400)\n"
        "print('RESULT', downpour.train(df, sys.argv[1]).summary['result'])\n")
    job = job_file()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYSPARK")}
    environment["PATH"] = "/usr/bin:/bin"
    ended = subprocess.run([sys.executable, str(script), job], env=environment, capture_output=True, text=True, timeout=180)
    assert "RESULT done" in ended.stdout, ended.stdout[-2000:] + ended.stderr[-4000:]
