"""ps-server and ps-worker by hand, and what they say when something is wrong."""

import fcntl
import gzip
import json
import os
import signal
import socket
import struct
import subprocess
import time
import urllib.request

import pytest

from tests.e2e.harness import FASHION, LONG, data_section


def one_server(**changes):
    changes.setdefault("servers", "{addresses: ['127.0.0.1:0']}")
    changes.setdefault("workers", "1")
    return changes


def worker_events(result):
    return {event["event"]: event for event in map(json.loads, result.stdout.splitlines())}


def failure(result):
    return worker_events(result)["failed"]["reason"]


def test_the_pieces_by_hand(place):
    job = place.job(**one_server())
    server, listening = place.serve(job)
    result = place.run("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    assert result.returncode == 0, result.stderr
    events = worker_events(result)
    assert events["loaded"]["samples"] == 4000
    assert events["done"]["samples"] == 8000
    server.send_signal(signal.SIGTERM)
    assert server.wait(15) == 0


def test_metrics_are_as_prometheus_wants_them(place):
    job = place.job(**one_server())
    _, listening = place.serve(job)
    place.run("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    text = urllib.request.urlopen(f"http://{listening['metrics']}/metrics", timeout=10).read().decode()
    assert "downpour_pushes_total" in text
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert lint.stderr == "" and lint.stdout == ""


def test_a_port_in_use_is_named(place):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        job = place.job(**one_server(servers="{addresses: ['%s']}" % address))
        result = place.run("ps-server", "--config", job, "--index", 0)
    assert result.returncode == 69
    assert address in result.stderr and "in use" in result.stderr
    assert result.stdout == ""


def test_ps_run_says_which_port_is_in_use(place):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        result, events, _ = place.ps_run(place.job(**one_server(servers="{addresses: ['%s']}" % address)))
    assert result.returncode == 69
    assert any(address in problem for problem in events[-1]["problems"])
    assert not place.wait_until_quiet()


def test_a_server_that_is_not_there(place):
    with socket.socket() as holder:  # a port that nobody listens on
        holder.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % holder.getsockname()[1]
    job = place.job(**one_server(servers="{addresses: ['%s']}" % address, worker="{connect_timeout_ms: 700}"))
    result = place.run("ps-worker", "--config", job, "--partition", 0)
    assert result.returncode == 69
    reason = failure(result)
    assert address in reason and "tried for" in reason and "servers.addresses" in reason


def test_a_server_that_goes_away(place):
    job = place.job(**one_server(training=LONG))
    server, listening = place.serve(job)
    worker = place.start("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    place.wait_for_event(worker, "progress")
    server.kill()
    out, _ = worker.communicate(timeout=30)
    assert worker.returncode == 69
    assert listening["address"] in json.loads(out.splitlines()[-1])["reason"]


def test_a_server_that_is_told_to_stop_drains(place):
    job = place.job(**one_server(training=LONG))
    server, listening = place.serve(job)
    worker = place.start("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    place.wait_for_event(worker, "progress")
    server.send_signal(signal.SIGTERM)
    assert server.wait(15) == 0
    worker.communicate(timeout=30)
    assert worker.returncode == 69


def test_job_and_server_that_disagree_on_the_net(place):
    server_job = place.job(**one_server())
    _, listening = place.serve(server_job)
    other = place.folder / "other.yaml"
    other.write_text(server_job.read_text().replace("outputs: 32", "outputs: 33"))
    result = place.run("ps-worker", "--config", other, "--servers", listening["address"], "--partition", 0)
    assert result.returncode == 78
    assert "net[0].outputs: 32 -> 33" in failure(result)


def test_a_partition_beyond_the_jobs(place):
    result = place.run("ps-worker", "--config", place.job(), "--servers", "h:1,h:2", "--partition", 2)
    assert result.returncode == 64 and "partition 2" in failure(result)


def test_flags_that_are_missing(place):
    result = place.run("ps-worker", "--config", place.job())
    assert result.returncode == 64 and "--partition" in result.stderr
    result = place.run("ps-server", "--index", 0)
    assert result.returncode == 64 and "--config" in result.stderr
    result = place.run("ps-server", "--config", place.job(), "--index", 7)
    assert result.returncode == 64 and "7" in result.stderr


@pytest.fixture
def plain(tmp_path):
    """Fashion-MNIST's first 1000 test images and labels, as bytes."""
    images = gzip.open(FASHION / "t10k-images-idx3-ubyte.gz").read()
    labels = gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz").read()
    return (struct.pack(">4i", 0x803, 1000, 28, 28) + images[16 : 16 + 784000],
            struct.pack(">2i", 0x801, 1000) + labels[8:1008])


def run_on(place, images, labels):
    (place.folder / "images").write_bytes(images)
    (place.folder / "labels").write_bytes(labels)
    job = place.job(**one_server(data=data_section(0, place.folder / "images", place.folder / "labels")))
    _, listening = place.serve(job)
    return place.run("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)


def test_good_files_are_taken(place, plain):
    assert run_on(place, *plain).returncode == 0


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda images, labels: (images[:-10], labels), ["images"]),
        (lambda images, labels: (labels, images), ["swapped"]),
        (lambda images, labels: (images, labels[:-1]), ["labels"]),
        (lambda images, labels: (images, labels[:500] + b"\x0a" + labels[501:]), ["labels", "10", "492"]),
        (lambda images, labels: (images + b"x", labels), ["images"]),
        (lambda images, labels: (b"", labels), ["images"]),
        (lambda images, labels: (struct.pack(">4i", 0x803, 2**31 - 1, 28, 28) + images[16:], labels), ["images"]),
        (lambda images, labels: (images, struct.pack(">2i", 0x801, 999) + labels[8:1007]), ["1000", "999"]),
    ],
    ids=["truncated", "swapped", "short labels", "label", "trailing", "empty", "absurd count", "counts differ"],
)
def test_damaged_files_are_refused_and_named(place, plain, damage, words):
    result = run_on(place, *damage(*plain))
    assert result.returncode == 65, result.stdout
    for word in words:
        assert word in failure(result)


def test_garbage_on_the_port_does_not_end_the_server(place):
    job = place.job(**one_server())
    server, listening = place.serve(job)
    host, port = listening["address"].split(":")
    for garbage in (b"\0" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000):
        with socket.create_connection((host, int(port))) as peer:
            peer.settimeout(0.5)
            try:
                peer.sendall(garbage)
                peer.recv(4096)
            except OSError:
                pass
    result = place.run("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    assert result.returncode == 0, result.stderr
    assert server.poll() is None


def test_an_older_attempt_is_superseded(place):
    job = place.job(**one_server(training=LONG))
    _, listening = place.serve(job)
    flags = ["--config", job, "--servers", listening["address"], "--partition", 0]
    old = place.start("ps-worker", *flags)
    place.wait_for_event(old, "progress")
    new = place.start("ps-worker", *flags, "--stage-attempt", 1)
    place.wait_for_event(new, "progress")
    out, _ = old.communicate(timeout=30)
    assert old.returncode == 76, out
    new.send_signal(signal.SIGTERM)
    new.communicate(timeout=30)
    assert new.returncode == 75


@pytest.mark.parametrize("came, comes", [(3, 4), (4, 3)])
def test_a_duplicate_waits_for_who_came_first_and_says_what_that_one_did(place, came, comes):
    job = place.job(**one_server(training="{batch: 64, epochs: 3}"))
    _, listening = place.serve(job)
    flags = ["--config", job, "--servers", listening["address"], "--partition", 0]
    first = place.start("ps-worker", *flags, "--task-attempt", came, "--slow-down", 50)
    place.wait_for_event(first, "progress")
    duplicate = place.start("ps-worker", *flags, "--task-attempt", comes)
    waiting = place.wait_for_event(duplicate, "waiting")
    assert (waiting["attempt"], waiting["pid"]) == ("0.%d" % came, first.pid)
    done = [place.wait_for_event(worker, "done") for worker in (first, duplicate)]
    assert done[0] == done[1] and done[0]["samples"] == 3 * 4000
    assert [epoch["train"]["weight"] for epoch in done[0]["epochs"]] == [4000.0] * 3
    assert [worker.wait(15) for worker in (first, duplicate)] == [0, 0]
    # One that comes when all is done has nothing to do either.
    late = place.run("ps-worker", *flags, "--task-attempt", 5)
    assert late.returncode == 0 and json.loads(late.stdout.splitlines()[-1]) == done[0]


# max_pushes_in_flight and the one that accrues, of n_push batches each: what a lost attempt may have done in vain.
UNACKNOWLEDGED = 3 * 5 * 64


def go_beyond_what_is_unacknowledged(place, worker):
    """Until the server has surely recorded a position; returns how many samples the worker has had by then."""
    samples = 0
    while samples <= 2 * UNACKNOWLEDGED:
        samples = place.wait_for_event(worker, "progress")["samples"]
    return samples


def test_a_duplicate_goes_on_where_a_lost_attempt_got_to(place):
    job = place.job(**one_server(training=LONG, worker="{heartbeat_ms: 50, lease_ms: 2000}"))
    _, listening = place.serve(job)
    flags = ["--config", job, "--servers", listening["address"], "--partition", 0]
    first = place.start("ps-worker", *flags)
    place.wait_for_event(first, "progress")
    second, third = (place.start("ps-worker", *flags, "--task-attempt", attempt) for attempt in (1, 2))
    for worker in (second, third):
        place.wait_for_event(worker, "waiting")
    third.send_signal(signal.SIGTERM)
    assert third.wait(15) == 75
    before = go_beyond_what_is_unacknowledged(place, first)
    first.kill()
    assert place.wait_for_event(second, "progress")["samples"] >= before - UNACKNOWLEDGED
    second.send_signal(signal.SIGTERM)
    assert second.wait(15) == 75


def test_other_rows_than_an_earlier_attempt_had_are_refused(place):
    job = place.job(**one_server(training=LONG))
    _, listening = place.serve(job)
    flags = ["--servers", listening["address"], "--partition", 0]
    first = place.start("ps-worker", "--config", job, *flags)
    go_beyond_what_is_unacknowledged(place, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(15) == 75
    other = place.folder / "other.yaml"
    other.write_text(job.read_text().replace("limit: 4000", "limit: 3900"))
    second = place.run("ps-worker", "--config", other, *flags, "--task-attempt", 1)
    assert second.returncode == 65
    assert "partition 0 has 3900 rows, and had 4000 for an earlier attempt" in failure(second)


def test_a_launcher_that_does_not_read_what_the_worker_says(place):
    job = place.job(**one_server(training=LONG, worker="{heartbeat_ms: 10, lease_ms: 2000}"))
    _, listening = place.serve(job)
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    worker = place.start(
        "ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0, stdout=write_end
    )
    os.close(write_end)
    # Long after the pipe is full the lease is still kept.
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(4)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 75
    os.close(read_end)


def test_a_feed_that_stops_while_the_server_dies(place):
    job = place.job(**one_server())
    server, listening = place.serve(job)
    read_end, write_end = os.pipe()
    worker = place.start(
        "ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0,
        "--feed-fd", read_end, pass_fds=(read_end,),
    )
    os.close(read_end)
    os.write(write_end, b"DPF1\x01\x00")  # the beginning of a header, and then nothing
    assert worker.stdout.readline()  # started
    time.sleep(0.5)
    server.kill()
    assert worker.wait(20) == 69
    os.close(write_end)


def test_a_feed_that_closes_while_the_worker_ends_for_what_came_on_it(place):
    job = place.job(**one_server(worker="{call_timeout_ms: 3000}"))
    server, listening = place.serve(job)
    read_end, write_end = os.pipe()
    worker = place.start(
        "ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0,
        "--feed-fd", read_end, pass_fds=(read_end,),
    )
    os.close(read_end)
    time.sleep(1)
    server.send_signal(signal.SIGSTOP)  # so that taking leave of it takes a while
    os.write(write_end, b"?" * 16)
    while json.loads(worker.stdout.readline())["event"] != "failed":
        pass
    os.close(write_end)
    assert worker.wait(20) == 65
    server.send_signal(signal.SIGCONT)


def test_a_launcher_that_dies_while_the_worker_looks_for_servers(place):
    job = place.job(**one_server(worker="{connect_timeout_ms: 20000}"))
    read_end, write_end = os.pipe()
    worker = place.start(
        "ps-worker", "--config", job, "--servers", "127.0.0.1:9", "--partition", 0,
        "--feed-fd", read_end, pass_fds=(read_end,),
    )
    os.close(read_end)
    assert worker.stdout.readline()
    os.close(write_end)
    assert worker.wait(10) == 75


@pytest.mark.parametrize("flag", [["--feed-fd", "77"], ["--lifeline-fd", "77"], ["--servers", "a,,b"],
                                  ["--servers", "127.0.0.1:0"], ["--servers", "127.0.0.1:70000"]])
def test_flags_that_can_not_be_meant(place, flag):
    result = place.run("ps-worker", "--config", place.job(**one_server()), "--partition", 0, *flag)
    assert result.returncode == 64, result.stdout + result.stderr


def test_an_address_beyond_all_ports_is_not_listened_on(place):
    result = place.run("ps-server", "--config", place.job(**one_server()), "--index", 0, "--listen", "127.0.0.1:99999")
    assert result.returncode == 64 and "65535" in result.stderr


def test_a_worker_that_slept_through_its_lease_may_be_tried_again(place):
    job = place.job(**one_server(training=LONG, worker="{heartbeat_ms: 50, lease_ms: 1000}"))
    _, listening = place.serve(job)
    worker = place.start("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    place.wait_for_event(worker, "progress")
    worker.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    worker.send_signal(signal.SIGCONT)
    out, _ = worker.communicate(timeout=30)
    assert worker.returncode == 69, out
