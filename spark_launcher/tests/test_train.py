"""train and train_on_rdd through a real local Spark, with stand-ins for the native programs."""
import os
import signal
import struct
import sys
import threading
import time

import numpy as np
import pytest

import downpour
from downpour import Programs, TrainingFailed, WorkerFailed
from downpour.supervisor import Supervisor, check_job

ROWS = 230


@pytest.fixture
def programs(fake_run, fake_worker):
    return Programs(run=fake_run, worker=fake_worker)


@pytest.fixture
def data(spark):
    rows = [(bytearray([i, i, i, i]), i % 10) for i in range(ROWS)]
    return spark.createDataFrame(spark.sparkContext.parallelize(rows, 2), "features binary, label int")


def fed(tmp_path, partition, item=4, label=4):
    """The rows that a worker was fed: arrays of features (bytes) and labels."""
    feed, at = (tmp_path / ("feed-%d" % partition)).read_bytes(), 0
    features, labels = [], []
    while at < len(feed):
        kind, _, length = struct.unpack_from("<HHQ", feed, at + 4)
        body = feed[at + 16:at + 16 + length]
        if kind == 2:
            rows = struct.unpack_from("<I", body)[0]
            features += [body[8 + i * item:8 + (i + 1) * item] for i in range(rows)]
            labels += np.frombuffer(body, "<i%d" % label, rows, 8 + rows * item).tolist()
        at += 16 + length
    return features, labels


def assert_nothing_runs(tmp_path, running):
    pids = [int(path.read_text()) for path in tmp_path.glob("pid-*")]
    deadline = time.monotonic() + 15
    while any(map(running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if running(pid)] == []


@pytest.mark.parametrize("mode", ["downpour", "bsp", "peer"])
def test_every_row_reaches_a_worker(data, programs, write_job, tmp_path, running, mode):
    result = downpour.train(data, write_job(mode=mode), programs=programs, run_dir=str(tmp_path / "here"))
    assert result.run_dir == str(tmp_path / "here") and result.summary == {"accuracy": 0.9}
    assert [(one.partition, one.samples) for one in result.partitions] == [(0, 115), (1, 115)]
    features, labels = (sum(both, []) for both in zip(fed(tmp_path, 0), fed(tmp_path, 1)))
    assert features == [bytes([i] * 4) for i in range(ROWS)] and labels == [i % 10 for i in range(ROWS)]
    assert (tmp_path / "here" / "logs" / "worker-1.log").exists()
    assert_nothing_runs(tmp_path, running)


def test_another_number_of_partitions(data, programs, write_job, capsys):
    result = downpour.train(data, write_job(workers=3), programs=programs)
    assert sum(one.samples for one in result.partitions) == ROWS and len(result.partitions) == 3
    assert "repartitioned: it has 2 partitions, and the job has 3 workers" in capsys.readouterr().out


def test_other_columns_and_an_empty_partition(spark, programs, write_job):
    rows = [([0.5, 1.0, 2.0, 3.0], 3.0)]
    data = spark.createDataFrame(spark.sparkContext.parallelize(rows, 2), "x array<float>, unused double")
    data = data.withColumnRenamed("unused", "y").withColumn("other", data.x)
    result = downpour.train(data, write_job(), features_col="x", label_col="y", programs=programs)
    assert sorted(one.samples for one in result.partitions) == [0, 1]
    assert [one.loss for one in result.partitions if one.samples == 0] == [None]


@pytest.mark.parametrize("make", [
    lambda i: bytes([i] * 4), lambda i: np.full((2, 2), i, np.uint8), lambda i: np.full(4, i, np.float32),
    lambda i: [float(i)] * 4])
@pytest.mark.parametrize("mode", ["downpour", "bsp"])
def test_an_rdd(spark, programs, write_job, tmp_path, make, mode):
    rows = spark.sparkContext.parallelize(range(40), 2).map(lambda i: (make(i), i % 10))
    result = downpour.train_on_rdd(rows, write_job(mode=mode), programs=programs)
    assert [one.samples for one in result.partitions] == [20, 20]
    item = np.asarray(make(3), np.float32).nbytes if not isinstance(make(3), bytes) and \
        np.asarray(make(3)).dtype != np.uint8 else 4
    features, labels = fed(tmp_path, 0, item, 8)
    assert labels == [i % 10 for i in range(20)]
    assert features[7] == (np.full(4, 7, np.float32).tobytes() if item == 16 else bytes([7] * 4))


@pytest.mark.parametrize("behaviour, reason, status", [
    ("fails early", "no server at 127.0.0.1:1", 69), ("is killed", "it was killed", -9),
    ("says nothing", "without having said", 0)])
@pytest.mark.parametrize("mode", ["downpour", "bsp", "peer"])
def test_a_failing_worker_is_the_one_error(data, programs, write_job, tmp_path, running, behaviour, reason, status,
                                           mode):
    with pytest.raises(WorkerFailed) as caught:
        downpour.train(data, write_job(mode=mode, worker={"1": behaviour, "0": "does not end"}), programs=programs)
    assert (caught.value.partition, caught.value.status) == (1, status)
    assert reason in caught.value.reason and caught.value.log_tail[0] == "log line %d" % (60 - sum(
        line.startswith("log") for line in caught.value.log_tail))
    assert "at org.apache" not in str(caught.value) and caught.value.__cause__ is not None
    assert_nothing_runs(tmp_path, running)


def test_a_failing_worker_under_an_rdd(spark, programs, write_job, tmp_path, running):
    rows = spark.sparkContext.parallelize([(bytes(4), 1)] * 10, 2)
    with pytest.raises(WorkerFailed) as caught:
        downpour.train_on_rdd(rows, write_job(worker={"0": "fails early"}), programs=programs)
    assert caught.value.hint == "start it"
    assert_nothing_runs(tmp_path, running)


def test_a_row_of_a_wrong_width(spark, programs, write_job, tmp_path, running):
    data = spark.createDataFrame([(bytearray(4), 1), (bytearray(5), 1)], "features binary, label int").coalesce(1)
    with pytest.raises(WorkerFailed, match="column 'features', row 1 of the partition, has 5 values"):
        downpour.train(data, write_job(workers=1), programs=programs)
    assert_nothing_runs(tmp_path, running)


def test_an_error_of_the_data_itself(spark, programs, write_job, tmp_path, running):
    def broken(_):
        raise ValueError("the source is gone")
    data = spark.range(0, 10, 1, 2).mapInArrow(broken, "features binary, label int")
    with pytest.raises(TrainingFailed, match="^a partition could not be computed: ValueError: the source is gone$"):
        downpour.train(data, write_job(), programs=programs)
    assert_nothing_runs(tmp_path, running)


def test_fewer_slots_than_strong_workers(spark, programs, write_job, tmp_path, running):
    data = spark.createDataFrame([(bytearray(4), 1)] * 3, "features binary, label int").repartition(3)
    with pytest.raises(TrainingFailed, match="fewer slots than the job has workers"):
        downpour.train(data, write_job(workers=3, mode="bsp"), programs=programs)
    assert_nothing_runs(tmp_path, running)


def test_fewer_slots_than_servers_and_workers(data, programs, write_job):
    job = write_job(servers={"addresses": ["127.0.0.1:0"] * 2})
    with pytest.raises(TrainingFailed, match="2 servers and 1 of 2 workers must run at the same time, and Spark has 2 slots"):
        downpour.train(data, job, servers="tasks", programs=programs)


def test_a_column_that_is_not_there(data, programs, write_job):
    with pytest.raises(TrainingFailed, match="no column 'pixels' for the features; the columns are features, label"):
        downpour.train(data, write_job(), features_col="pixels", programs=programs)


@pytest.mark.parametrize("run, message", [
    ("refuses", "unknown key 'learnin_rate'"), ("does not start", "status 69: port 4711 is in use"),
    ("ends badly", "did not end well: ps-run ended with status 70: the model could not be written")])
def test_a_supervisor_that_fails(data, programs, write_job, run, message):
    with pytest.raises(TrainingFailed, match=message):
        downpour.train(data, write_job(run=run), programs=programs)


def test_programs_that_are_not_there(data, programs, write_job, tmp_path):
    with pytest.raises(TrainingFailed, match="ps-run is not there .looked for .*/nowhere"):
        downpour.train(data, write_job(), programs=Programs(run=str(tmp_path / "nowhere")))
    with pytest.raises(WorkerFailed, match="ps-worker is not there .looked for .*/nowhere"):
        downpour.train(data, write_job(), programs=programs._replace(worker=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("mode", ["downpour", "peer"])
def test_an_interrupt_ends_everything(data, programs, write_job, tmp_path, running, mode):
    def interrupt():
        while len(list(tmp_path.glob("feed-*"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    # PySpark's own handler cancels all jobs, whoever's they are.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            downpour.train(data, write_job(mode=mode, worker={"0": "does not end", "1": "does not end"}), programs=programs)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert_nothing_runs(tmp_path, running)


@pytest.mark.parametrize("killed, lost", [("0", "1"), ("1", "0")])
def test_with_peers_the_one_that_ended_first_is_the_cause(data, programs, write_job, tmp_path, running, killed, lost):
    job = write_job(mode="peer", worker={killed: "is killed late", lost: "loses a peer"})
    with pytest.raises(WorkerFailed) as caught:
        downpour.train(data, job, programs=programs)
    assert (caught.value.partition, caught.value.status) == (int(killed), -signal.SIGKILL)
    assert "out of memory" in caught.value.hint and "the job has to begin again" in caught.value.hint
    assert_nothing_runs(tmp_path, running)


def test_a_lost_worker_that_nobody_explains_is_named(data, programs, write_job):
    job = write_job(mode="peer", worker={"0": "loses a peer", "1": "does not end"})
    with pytest.raises(WorkerFailed, match="(?s)partition 0 .* server 1 at 127.0.0.1:2 was lost.*has to begin again"):
        downpour.train(data, job, programs=programs)


@pytest.mark.parametrize("mode", ["downpour", "peer"])
@pytest.mark.parametrize("kind", ["frame", "rdd"])
def test_a_supervisor_that_dies_ends_the_tasks(spark, data, programs, write_job, tmp_path, running, mode, kind,
                                               monkeypatch):
    monkeypatch.setattr(sys.modules["downpour.train"], "_SPEAK_S", 0.5)
    job = write_job(mode=mode, run="dies", worker={"0": "does not end", "1": "does not end"})
    with pytest.raises(TrainingFailed, match="ps-run ended with status 1: worker 1 is gone; that is bad"):
        if kind == "frame":
            downpour.train(data, job, programs=programs)
        else:
            downpour.train_on_rdd(spark.sparkContext.parallelize([(bytes(4), 1)] * 10, 2), job, programs=programs)
    assert_nothing_runs(tmp_path, running)


@pytest.mark.parametrize("behaviour", ["fails when all is done", "stays when all is done"])
def test_what_all_workers_did_is_known_without_spark(data, programs, write_job, tmp_path, running, behaviour, monkeypatch):
    monkeypatch.setattr(sys.modules["downpour.train"], "_BRING_S", 1.0)
    epochs = [{"train": {"loss": 0.5, "accuracy": 0.75, "weight": 70.0}, "held_out": None}]
    workers = [{"partition": i, "steps": 7, "samples": 70, "loss": 0.5, "seconds": None, "epochs": epochs, "ended": []}
               for i in range(2)]
    result = downpour.train(data, write_job(worker={"1": behaviour}, summary={"workers": workers}), programs=programs)
    assert [(one.partition, one.steps, one.epochs[0].train.loss) for one in result.partitions] == [(0, 7, 0.5), (1, 7, 0.5)]
    assert_nothing_runs(tmp_path, running)


def test_attempts_that_failed_on_the_way_are_told_of(data, programs, write_job, capsys):
    ended = [{"attempt": "0.3", "host": "node3", "state": "lost", "reason": "silent for 2.0 s", "samples": 5, "number": 1}]
    result = downpour.train(data, write_job(summary={"workers": [{"partition": 1, "ended": ended}]}), programs=programs)
    assert [tuple(retry) for retry in result.retries] == [(1, "0.3", "node3", "silent for 2.0 s")]
    assert "partition 1, attempt 0.3 on node3: silent for 2.0 s" in capsys.readouterr().out


def test_a_supervisor_ends_with_its_context(fake_run, write_job, tmp_path, running):
    with Supervisor(write_job(), None, fake_run) as supervisor:
        started = supervisor.wait_started()
        pid = int((tmp_path / "pid-run").read_text())
        assert started.servers == ("127.0.0.1:1", "127.0.0.1:2") and running(pid)
    assert not running(pid)


def test_a_checked_job(fake_run, write_job):
    job = check_job(write_job(workers=5, shape=(3, 4, 5)), fake_run)
    assert (job.workers, job.row_values) == (5, 60)
