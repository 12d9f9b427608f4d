"""A worker that is fed more than it may keep in memory."""

import json
import os
import random
import signal
import struct
import threading
import time

import pytest

from tests.e2e.harness import LONG

MIB = 1 << 20
VALUES = 784
ROW_BYTES = 4 * VALUES


def frame(kind, *body):
    return struct.pack("<4sHHQ", b"DPF1", kind, 0, sum(map(len, body))) + b"".join(body)


def schema():
    return frame(1, struct.pack("<I", 2), struct.pack("<H8sBBI", 8, b"features", 4, 1, VALUES),
                 struct.pack("<H5sBB", 5, b"label", 1, 0))


def batch(rows, seed):
    """Rows of floats between 0 and 1."""
    dice = random.Random(seed)
    noise = struct.pack("<4096f", *(dice.random() for _ in range(4096)))
    features = bytearray()
    while len(features) < rows * ROW_BYTES:
        start = dice.randrange(0, 2048) * 4
        features += noise[start:start + 8192]
    labels = bytes(dice.randrange(10) for _ in range(rows))
    return frame(2, struct.pack("<II", rows, 0), bytes(features[:rows * ROW_BYTES]), labels)


class Fed:
    """A worker under ps-run, and what it is fed."""

    def __init__(self, place, folder, *flags, rows=4000, batches=1, **job):
        self.place, self.run_dir = place, place.folder / folder
        cluster_file = place.folder / (folder + ".json")
        job = {"workers": "1", "sync": "{mode: bsp}", "data": "{shape: [784], scale: 1}", "run": "{evaluations: 0}",
               "servers": "{addresses: ['127.0.0.1:0']}", "training": "{batch: 256, epochs: 2}", **job}
        self.run = place.start("ps-run", place.job(**job), "--json", "--launcher", "external", "--cluster-file",
                               cluster_file, "--run-dir", self.run_dir)
        place.wait_until(cluster_file.exists)
        cluster = json.loads(cluster_file.read_text())
        read_end, self.feed = os.pipe()
        self.worker = place.start("ps-worker", "--config", cluster["job_file"], "--servers", ",".join(cluster["servers"]),
                                  "--partition", 0, "--feed-fd", read_end, *flags, pass_fds=(read_end,))
        os.close(read_end)
        self.most_memory = 0
        self._feeder = threading.Thread(target=self._write, args=(rows, batches))
        self._feeder.start()

    def _write(self, rows, batches):
        try:
            with os.fdopen(os.dup(self.feed), "wb") as feed:
                feed.write(schema())
                for seed in range(batches):
                    feed.write(batch(rows, seed))
                feed.write(frame(3, struct.pack("<Q", rows * batches)))
        except BrokenPipeError:
            pass

    def end(self):
        """The worker's events, once it has ended."""
        while self.worker.poll() is None:
            self.most_memory = max(self.most_memory, self.memory())
            time.sleep(0.01)
        out, _ = self.worker.communicate()
        self._feeder.join()
        os.close(self.feed)
        if self.worker.returncode != 0:
            self.run.send_signal(signal.SIGTERM)  # it would wait for another try
        self.run.communicate(timeout=60)
        return {event["event"]: event for event in map(json.loads, out.splitlines())}

    def memory(self):
        """Most that the worker has had in memory so far, in bytes."""
        try:
            with open("/proc/%d/status" % self.worker.pid) as file:
                return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
        except OSError:
            return 0

    def model(self):
        return (self.run_dir / "model.safetensors").read_bytes()


def test_memory_is_bounded_and_the_bits_are_the_same(place):
    """Two epochs of 144 MiB: with all of it in memory, then with 100 MiB for the whole process."""
    size = {"rows": 4000, "batches": 12}
    whole = Fed(place, "whole", **size)
    events = whole.end()
    assert events["done"]["samples"] == 2 * 48000
    assert events["loaded"]["spooled_bytes"] == 0
    assert events["loaded"]["memory_bytes"] >= events["loaded"]["bytes"] == 48000 * (ROW_BYTES + 4)
    assert whole.most_memory > 144 * MIB

    granted = 100 * MIB
    bounded = Fed(place, "bounded", "--memory-bytes", granted, "--spool-dir", place.folder, **size)
    events = bounded.end()
    assert events["done"]["samples"] == 2 * 48000
    assert events["loaded"]["spooled_bytes"] > 80 * MIB
    assert events["loaded"]["bound_bytes"] == granted
    assert bounded.most_memory < 1.1 * granted
    assert bounded.model() == whole.model()


def test_nothing_is_left_of_the_spool_file(place):
    spool = place.folder / "spool"
    spool.mkdir()
    fed = Fed(place, "run", worker="{feed_memory_bytes: 4096, spool_dir: '%s'}" % spool, training=LONG)
    place.wait_for_event(fed.worker, "progress")
    files = [os.readlink(link.path) for link in os.scandir("/proc/%d/fd" % fed.worker.pid)]
    assert [name for name in files if name.startswith(str(spool))]
    assert not list(spool.iterdir())
    fed.worker.kill()
    fed.end()
    assert not list(spool.iterdir())


@pytest.mark.parametrize("worker, words", [
    ("{feed_limit_bytes: 5000000, feed_memory_bytes: 4096, spool_dir: /tmp}",
     ["worker.feed_limit_bytes", "worker.feed_memory_bytes", "5000000"]),
    ("{feed_memory_bytes: 4096, spool_dir: /no/such/folder}", ["worker.spool_dir", "/no/such/folder", "No such file"]),
])
def test_rows_that_have_no_room_say_so(place, worker, words):
    fed = Fed(place, "run", worker=worker)
    reason = fed.end()["failed"]["reason"]
    assert fed.worker.returncode == 65
    for word in words:
        assert word in reason
