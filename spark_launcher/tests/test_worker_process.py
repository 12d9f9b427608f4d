"""WorkerProcess against a stand-in that keeps to the contract or breaks it."""
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pyarrow as pa
import pytest

from downpour.errors import WorkerFailed
from downpour.frames import Columns, FrameEncoder
from downpour.frames import unwritten
from downpour.worker_process import Identity, Meeting, WorkerProcess, meeting_at

SERVERS = ["127.0.0.1:1", "127.0.0.1:2"]


def batches(rows, values=4, count=1):
    features = pa.array([bytes(values)] * rows, pa.binary())
    one = pa.RecordBatch.from_arrays([features, pa.array([0] * rows, pa.int32())], names=["features", "label"])
    return [one] * count


def launch(program, job, **options):
    return WorkerProcess(program, job, SERVERS, Identity(0, 0, 7), **options)


def run(worker, data=None, values=4):
    encoder = FrameEncoder(Columns("features", "label"), values)
    with worker:
        for batch in data if data is not None else batches(10):
            worker.feed(encoder.encode(batch))
        worker.feed(encoder.end())
        return worker.finish()


def test_a_worker_that_does_well(fake_worker, write_job, tmp_path):
    events = []
    done = run(launch(fake_worker, write_job(), on_event=events.append))
    assert (done["steps"], done["samples"]) == (1, 10)
    assert [event["event"] for event in events] == ["started", "loaded", "done"]
    assert events[0]["servers"] == SERVERS
    assert (tmp_path / "feed-0").stat().st_size == (16 + 29) + (16 + 8 + 10 * (4 + 4)) + (16 + 8)


def test_a_worker_that_holds_shards_may_stay_after_it_is_done(fake_worker, write_job, tmp_path):
    events = []

    def on_event(event):
        events.append(event)
        if event["event"] == "done":
            threading.Timer(1, (tmp_path / "released").touch).start()
    worker = WorkerProcess(fake_worker, write_job(mode="peer"), [], Identity(0), on_event=on_event,
                           meeting=Meeting("127.0.0.1:1", "127.0.0.1:0"), stall_timeout_s=0.3)
    begun = time.monotonic()
    assert run(worker)["samples"] == 10
    assert time.monotonic() - begun > 1
    assert [event["event"] for event in events] == ["started", "listening", "loaded", "done"]
    assert events[1]["address"] == "127.0.0.1:0"


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "[::1]")])
def test_the_address_by_which_a_rendezvous_is_reached(family, host):
    try:
        server = socket.create_server((host.strip("[]"), 0), family=family)
    except OSError as error:
        pytest.skip("no such address here: %s" % error)
    with server:
        address = "%s:%d" % (host, server.getsockname()[1])
        assert meeting_at(address) == Meeting(address, "%s:0" % host)
    with pytest.raises(ConnectionRefusedError):
        meeting_at(address)


def test_more_data_than_the_pipe_holds(fake_worker, write_job):
    done = run(launch(fake_worker, write_job(worker={"0": "is slow"})), batches(500, 10000, 4), 10000)
    assert done["samples"] == 2000


def test_an_empty_partition(fake_worker, write_job):
    assert run(launch(fake_worker, write_job()), [])["samples"] == 0


def test_lines_that_are_no_events_are_ignored(fake_worker, write_job):
    assert run(launch(fake_worker, write_job(worker={"0": "prints garbage"})))["samples"] == 10


def failure(program, job, data=None, values=4, **options):
    with pytest.raises(WorkerFailed) as caught:
        run(launch(program, job, **options), data, values)
    return caught.value


def test_its_own_reason_and_hint_are_passed_on(fake_worker, write_job):
    error = failure(fake_worker, write_job(worker={"0": "fails early"}), batches(500, 10000, 4), 10000)
    assert (error.partition, error.attempt, error.status) == (0, "0.7", 69)
    assert (error.reason, error.hint) == ("no server at 127.0.0.1:1", "start it")
    assert error.host == socket.gethostname()
    assert "a line on standard error" in error.log_tail
    assert str(error).startswith("worker of partition 0 on ")


def test_the_tail_of_its_log(fake_worker, write_job, tmp_path):
    error = failure(fake_worker, write_job(worker={"0": "fails early"}), log_file=str(tmp_path / "worker-0.log"))
    assert len(error.log_tail) == 50
    assert error.log_tail[-2:] == ("log line 59", "a line on standard error")


def test_killed_while_it_is_fed(fake_worker, write_job):
    error = failure(fake_worker, write_job(worker={"0": "is killed"}), batches(500, 10000, 4), 10000)
    assert error.status == -signal.SIGKILL
    assert "out of memory" in error.hint


def test_success_without_a_word(fake_worker, write_job):
    assert "without having said" in failure(fake_worker, write_job(worker={"0": "says nothing"})).reason


def test_a_missing_library(fake_worker, write_job):
    error = failure(fake_worker, write_job(worker={"0": "lacks a library"}))
    assert error.status == 127 and "library that the program needs is not installed" in error.hint


def test_a_worker_that_takes_no_data(fake_worker, write_job, tmp_path, running):
    error = failure(fake_worker, write_job(worker={"0": "stalls"}), batches(500, 10000, 4), 10000,
                    stall_timeout_s=0.5, grace_s=0.2)
    assert "has taken no data for 0.5 s" in error.reason
    assert not running(int((tmp_path / "pid-0").read_text()))


def test_a_worker_that_waits_for_another_attempt_does_not_stall(fake_worker, write_job):
    job = write_job(worker={"0": "waits"})
    assert run(launch(fake_worker, job, stall_timeout_s=0.6), batches(500, 10000, 4), 10000)["samples"] == 2000


def test_a_worker_whose_partition_another_attempt_completed(fake_worker, write_job):
    job = write_job(worker={"0": "waits for nothing"})
    done = run(launch(fake_worker, job, stall_timeout_s=0.6), batches(500, 10000, 4), 10000)
    assert (done["steps"], done["seconds"]) == (7, 3.0)


def test_a_worker_that_closes_the_feed_and_stays(fake_worker, write_job, tmp_path, running):
    error = failure(fake_worker, write_job(worker={"0": "closes the feed"}), batches(500, 10000, 4), 10000, grace_s=0.3)
    assert error.reason == "it closed the feed but did not end"
    assert not running(int((tmp_path / "pid-0").read_text()))


@pytest.mark.parametrize("behaviour", ["stalls", "ignores signals", "does not end"])
def test_leaving_the_context_ends_it(fake_worker, write_job, running, behaviour):
    events = []
    with pytest.raises(KeyboardInterrupt):
        with launch(fake_worker, write_job(worker={"0": behaviour}), on_event=events.append, grace_s=0.5) as worker:
            while len(events) < (2 if behaviour == "ignores signals" else 1):
                time.sleep(0.01)
            raise KeyboardInterrupt
    assert not running(worker.pid)


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "sys.exit(0)"])
def test_a_launcher_that_is_gone_ends_it(fake_worker, write_job, running, ending):
    program = textwrap.dedent("""
        import os, sys
        from downpour.frames import Columns, FrameEncoder
        from downpour.worker_process import Identity, WorkerProcess
        started = []
        worker = WorkerProcess(%r, %r, ["a:1"], Identity(0), on_event=started.append).__enter__()
        worker.feed(FrameEncoder(Columns("features", "label"), 4).end())
        while not started: pass
        print(worker.pid, flush=True)
        %s
    """ % (fake_worker, write_job(worker={"0": "does not end"}), ending))
    launcher = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False, timeout=30)
    pid = int(launcher.stdout)
    deadline = time.monotonic() + 10
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(pid)


@pytest.mark.parametrize("content, mode, reason", [
    (b"\x7fELF\x02\x01\x01" + bytes(60), 0o755, "not a program for this machine"),
    (b"#!/no/such/loader\n", 0o755, "needs a dynamic loader that is not here"),
    (b"#!/bin/sh\n", 0o644, "may not be executed"),
])
def test_a_program_that_cannot_start(write_job, tmp_path, content, mode, reason):
    program = tmp_path / "ps-worker"
    program.write_bytes(content)
    program.chmod(mode)
    error = failure(str(program), write_job())
    assert error.status is None and reason in error.reason


@pytest.mark.parametrize("written, left", [(0, b"abcde"), (2, b"cde"), (3, b"de"), (5, b"")])
def test_what_is_left_of_a_frame(written, left):
    parts = [memoryview(b"abc"), memoryview(b"de")]
    assert b"".join(unwritten(parts, written)) == left
