"""Sync modes with the real binaries: a worker that goes and comes again in the middle, and what is refused."""

import json
import threading
import time

import pytest

from tests.e2e.harness import LONG, free_address, metrics, total

WORKERS = 3
BATCH = 16
PATIENCE = 60


def until(what, true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


class Worker:
    """A ps-worker and what it says, read as it comes."""

    def __init__(self, place, job, servers, partition, *arguments):
        self.partition = partition
        self.process = place.start("ps-worker", "--config", job, "--servers", servers, "--partition", partition,
                                   "--log-file", place.folder / f"worker-{partition}.log", *arguments)
        self.events = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def progress(self):
        return [event for event in self.events if event["event"] == "progress" and event["step"] > 0]

    @property
    def step(self):
        return self.progress()[-1]["step"] if self.progress() else 0

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.reader.join()
        return self.events[-1]


def go_on(*workers, steps=60):
    goals = [worker.step + steps for worker in workers]
    for worker, goal in zip(workers, goals):
        until(f"worker {worker.partition} at step {goal}", lambda: worker.step >= goal)


class Cluster:
    """A job of three workers on two servers, in training."""

    def __init__(self, place, sync, lease_ms):
        self.place = place
        self.job = place.job(workers=WORKERS, sync=sync, worker="{heartbeat_ms: 20, lease_ms: %d}" % lease_ms,
                             training="{batch: %d, epochs: 100000}" % BATCH)
        self.servers, self.pages = place.serve_all(self.job)
        self.workers = [self.start(partition) for partition in range(WORKERS)]
        go_on(*self.workers)

    def start(self, partition, *arguments):
        return Worker(self.place, self.job, self.servers, partition, *arguments)

    def count(self, name, label=""):
        return total([metrics(page) for page in self.pages], name, label)

    def members(self, state):
        """Workers in that state, where both servers agree; else None."""
        counts = {total([metrics(page)], "downpour_workers", f'state="{state}"') for page in self.pages}
        return counts.pop() if len(counts) == 1 else None

    def refused(self, reason=""):
        return self.count("downpour_refused_frames_total", f'reason="{reason}"' if reason else "")

    def pushes_an_update(self):
        """How many workers' pushes make one update, over a stretch of time."""
        first = [metrics(page) for page in self.pages]
        go_on(*[worker for worker in self.workers if worker.process.poll() is None])
        second = [metrics(page) for page in self.pages]
        pushes, updates = (total(second, name) - total(first, name)
                           for name in ("downpour_pushes_total", "downpour_updates_total"))
        return pushes / updates

    def kill(self, partition):
        """What the worker had done, by its own word."""
        self.workers[partition].kill()
        return self.workers[partition].progress()[-1]

    def bring_back(self, partition, flag="--task-attempt"):
        """The worker's first word after it has come again. A later stage attempt waits for no lease to run out."""
        worker = self.workers[partition] = self.start(partition, flag, 1)
        until("it is there again", lambda: worker.step > 0)
        go_on(worker)
        return worker.progress()[0]

    def end(self):
        """Stops all in order; nobody had failed before."""
        for worker in self.workers:
            assert worker.process.poll() is None, worker.events[-1]
        for worker in self.workers:
            assert "SIGTERM" in worker.stop()["reason"]


# What a worker may have done without an acknowledgement, in samples: tau or n_push steps, and pushes under way.
UNDER_WAY = 40 * BATCH

ROUNDS = ["{mode: bsp}", "{mode: local_sgd, tau: 5}", "{mode: local_sgd, tau: 5, state: averaged}",
          "{mode: easgd, tau: 5, rounds: true}"]
ALONE = ["{mode: downpour}", "{mode: asp}", "{mode: easgd, tau: 5}"]


@pytest.mark.parametrize("sync", ALONE)
def test_who_waits_for_nobody_does_not_notice_a_worker_that_vanishes(place, sync):
    cluster = Cluster(place, sync, lease_ms=600000)
    before = cluster.kill(1)
    go_on(cluster.workers[0], cluster.workers[2], steps=300)
    # The servers had not noticed either.
    assert cluster.members("live") == 3 and cluster.count("downpour_leases_lost_total") == 0
    back = cluster.bring_back(1, "--stage-attempt")
    assert back["samples"] >= before["samples"] - UNDER_WAY
    go_on(*cluster.workers)
    assert cluster.members("live") == 3
    cluster.end()


@pytest.mark.parametrize("sync", ROUNDS)
def test_rounds_form_again_without_a_lost_worker_and_with_one_that_comes_back(place, sync):
    cluster = Cluster(place, sync, lease_ms=1000)
    assert cluster.pushes_an_update() == 3
    before = cluster.kill(1)
    until("the loss is noticed", lambda: cluster.members("lost") == 1)
    go_on(cluster.workers[0], cluster.workers[2])
    assert cluster.pushes_an_update() == 2
    meanwhile = min(cluster.workers[0].step, cluster.workers[2].step)
    back = cluster.bring_back(1)
    # It goes on with its own data, and at the others' step.
    assert back["samples"] >= before["samples"] - UNDER_WAY
    assert back["step"] >= meanwhile
    go_on(*cluster.workers)
    assert cluster.members("live") == 3
    assert cluster.pushes_an_update() == 3
    cluster.end()


@pytest.mark.parametrize("sync", ROUNDS)
def test_rounds_wait_for_a_worker_whose_lease_runs_and_go_on_with_its_next_attempt(place, sync):
    cluster = Cluster(place, sync, lease_ms=600000)
    cluster.kill(1)
    state = []

    def waiting():
        pages = [metrics(page) for page in cluster.pages]
        state.append((total(pages, "downpour_pushes_total"), total(pages, "downpour_held_pushes"),
                      total(pages, "downpour_parked_pulls")))
        return state[-1][1] > 0 and len(state) > 10 and len(set(state[-10:])) == 1

    until("the others wait", waiting)
    cluster.bring_back(1, "--stage-attempt")
    go_on(*cluster.workers)
    assert cluster.pushes_an_update() == 3
    assert cluster.count("downpour_leases_lost_total") == 0
    cluster.end()


def test_ssp_forgets_the_clock_of_a_lost_worker_and_nobody_is_ever_too_far_ahead(place):
    s = 4
    cluster = Cluster(place, "{mode: ssp, s: %d}" % s, lease_ms=1000)
    before = cluster.kill(1)
    until("the loss is noticed", lambda: cluster.members("lost") == 1)
    go_on(cluster.workers[0], cluster.workers[2], steps=200)
    meanwhile = min(cluster.workers[0].step, cluster.workers[2].step)
    back = cluster.bring_back(1)
    assert back["samples"] >= before["samples"] - UNDER_WAY
    assert back["step"] >= meanwhile - s
    go_on(*cluster.workers)
    pages = [metrics(page) for page in cluster.pages]
    pushes = total(pages, "downpour_lead_clocks_count")
    assert pushes > 0 and total(pages, "downpour_lead_clocks_bucket", 'le="%d"' % s) == pushes
    assert total(pages, "downpour_refused_frames_total", 'reason="clock_ahead"') == 0
    cluster.end()


@pytest.mark.parametrize("sync, others, words", [
    ("{mode: bsp, tau: 5}", {}, "job.yaml:4: sync.tau: belongs to mode local_sgd, easgd, not to bsp"),
    ("{mode: asp, n_push: 5}", {}, "sync.n_push: belongs to mode downpour, not to asp"),
    ("{mode: downpour, s: 3}", {}, "sync.s: belongs to mode ssp, not to downpour"),
    ("{mode: ssp, rho: 0.1}", {}, "sync.rho: belongs to mode easgd, not to ssp"),
    ("{mode: easgd, state: averaged}", {}, "sync.state: belongs to mode local_sgd, not to easgd"),
    ("{mode: local_sgd, backup_workers: 1}", {}, "sync.backup_workers: belongs to mode bsp, not to local_sgd"),
    ("{mode: bsp, max_age: 3}", {}, "sync.max_age: belongs to mode downpour, asp, ssp, not to bsp"),
    ("{mode: peer, wait: true}", {}, "sync.wait: belongs to mode downpour, asp, not to peer"),
    ("{mode: ssb}", {}, "sync.mode: 'ssb' is none of downpour, asp, bsp, ssp, local_sgd, easgd, peer; did you mean"),
    ("{mode: local_sgd, tau: 0}", {}, "sync.tau: 0 is not between 1 and"),
    ("{mode: ssp, s: -1}", {}, "sync.s: '-1' is not a whole number, not negative"),
    ("{mode: local_sgd, state: shared}", {}, "sync.state: 'shared' is none of local, averaged"),
    ("{mode: asp, delay_compensation: -0.1}", {}, "sync.delay_compensation: -0.1 is not at least 0"),
    ("{mode: asp, max_age: many}", {}, "sync.max_age: 'many' is not a whole number"),
    ("{mode: bsp, backup_workers: 2}", {}, "sync.backup_workers: 2 should be less than workers, 2"),
    ("{mode: easgd, rho: 100}", {"optimizer": "{learning_rate: 0.01}"},
     "sync.rho: times optimizer.learning_rate is 1; it should be less than 1"),
    ("{mode: peer}", {"servers": "{addresses: ['127.0.0.1:0', '127.0.0.1:0', '127.0.0.1:0']}"},
     "servers.addresses: has 3 entries; with sync.mode peer each of the 2 workers holds shards and needs one"),
])
def test_what_cannot_be_is_refused_with_its_reason(place, sync, others, words):
    for arguments in (["--check"], []):
        result = place.run("ps-run", place.job(sync=sync, **others), *arguments)
        assert result.returncode == 64
        assert words in result.stderr
    assert not (place.folder / "runs").exists()


@pytest.mark.parametrize("theirs, named", [
    ("{mode: bsp}", 'sync.mode: "asp" -> "bsp"'),
    ("{mode: asp, max_age: 7}", "sync.max_age: 0 -> 7"),
    ("{mode: local_sgd}", 'sync.mode: "asp" -> "local_sgd"'),
])
def test_a_worker_of_another_mode_is_refused_and_the_others_lose_nothing(place, theirs, named):
    job = place.job(sync="{mode: asp}", training=LONG)
    servers, pages = place.serve_all(job)
    worker = Worker(place, job, servers, 0)
    go_on(worker)
    other = place.folder / "other.yaml"
    other.write_text(job.read_text().replace("{mode: asp}", theirs))
    result = place.run("ps-worker", "--config", other, "--servers", servers, "--partition", 1)
    assert result.returncode == 78
    reason = json.loads(result.stdout.splitlines()[-1])["reason"]
    assert "job and server disagree" in reason and named in reason
    go_on(worker)
    seen = [metrics(page) for page in pages]
    assert total(seen, "downpour_registrations_refused_total") == 1
    assert total(seen, "downpour_refused_frames_total") == 0
    worker.stop()


@pytest.mark.parametrize("mode", ["bsp", "ssp", "downpour", "local_sgd", "easgd"])
def test_a_partition_that_is_held_is_not_given_to_a_second_worker(place, mode):
    job = place.job(sync="{mode: %s}" % mode, training=LONG, workers=1)
    servers, _ = place.serve_all(job)
    worker = Worker(place, job, servers, 0)
    go_on(worker)
    result = place.run("ps-worker", "--config", job, "--servers", servers, "--partition", 0)
    assert result.returncode == 76
    reason = json.loads(result.stdout.splitlines()[-1])["reason"]
    assert "partition 0 is held by worker 0" in reason and f"pid {worker.process.pid}" in reason
    go_on(worker)
    worker.stop()


def test_a_peer_with_too_few_addresses_is_refused(place):
    job = place.job(sync="{mode: peer}", servers="{}")
    for partition in (0, 1):
        result = place.run("ps-worker", "--config", job, "--servers", free_address(), "--partition", partition,
                           timeout=30)
        assert result.returncode == 64
        assert "each of the 2 workers needs an address; there are 1" in result.stdout
