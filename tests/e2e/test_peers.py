"""Shards that live in the workers: by hand, with ps-run, and with a launcher of one's own."""

import json
import os
import signal
import socket
import time

import pytest

from tests.e2e.harness import LONG, SMALL_NET, data_section

PEER = "{mode: peer}"
# Measuring it takes a second or two.
WIDE_NET = SMALL_NET.replace("outputs: 32", "outputs: 4000")


def free_addresses(count=2):
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    addresses = ["127.0.0.1:%d" % holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return addresses


def peer_job(place, addresses=None, **changes):
    changes.setdefault("servers", "{addresses: %s, shards: 2}" % json.dumps(addresses) if addresses else "{shards: 2}")
    return place.job(sync=changes.pop("sync", PEER), **changes)


def events_of(output):
    return {event["event"]: event for event in map(json.loads, output.splitlines())}


def end(process, timeout=60):
    """Waits for a worker to end by itself; its events."""
    out, _ = process.communicate(timeout=timeout)
    return events_of(out)


def worker_pid(place, partition):
    return next(pid for pid, command in place.processes().items() if f"--partition {partition} " in command)


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class External:
    """ps-run with workers that this test starts."""

    def __init__(self, place, job):
        self.place = place
        cluster_file = place.folder / "cluster.json"
        self.run = place.start(
            "ps-run", job, "--json", "--launcher", "external", "--cluster-file", cluster_file,
            "--run-dir", place.folder / "run",
        )
        wait_for(cluster_file.exists)
        self.cluster = json.loads(cluster_file.read_text())

    def worker(self, partition, *flags):
        return self.place.start(
            "ps-worker", "--config", self.cluster["job_file"], "--rendezvous", self.cluster["rendezvous"],
            "--listen", "127.0.0.1:0", "--partition", partition, *flags,
        )

    def end(self, timeout=60):
        """The summary, once ps-run has ended."""
        out, _ = self.run.communicate(timeout=timeout)
        return events_of(out)["summary"]


# ---- Workers by hand, without ps-run.


def test_two_workers_by_hand_at_fixed_addresses(place):
    addresses = free_addresses()
    job = peer_job(place, addresses)
    workers = [place.start("ps-worker", "--config", job, "--partition", i) for i in range(2)]
    for worker, address in zip(workers, addresses):
        events = end(worker)
        assert worker.returncode == 0, events
        assert events["listening"]["address"] == address
        assert events["done"]["samples"] == 2 * 2000
        assert {"started", "loaded"} <= set(events)


def test_by_hand_the_first_waits_for_the_second(place):
    job = peer_job(place, free_addresses())
    first = place.start("ps-worker", "--config", job, "--partition", 0)
    place.wait_for_event(first, "listening")
    time.sleep(1)
    assert first.poll() is None
    second = place.start("ps-worker", "--config", job, "--partition", 1)
    assert "done" in end(first) and "done" in end(second)


def test_by_hand_a_free_port_is_no_address_that_others_could_know(place):
    result = place.run("ps-worker", "--config", peer_job(place), "--partition", 0)
    assert result.returncode == 64
    assert "need fixed addresses, or --rendezvous" in events_of(result.stdout)["failed"]["reason"]


def test_by_hand_a_killed_worker_ends_the_others(place):
    job = peer_job(place, free_addresses(), training=LONG)
    workers = [place.start("ps-worker", "--config", job, "--partition", i) for i in range(2)]
    for worker in workers:
        place.wait_for_event(worker, "progress")
    workers[1].kill()
    events = end(workers[0])
    assert workers[0].returncode == 69
    assert "server 1 at" in events["failed"]["reason"]
    assert "look which of them ended first" in events["failed"]["hint"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_by_hand_a_signal_ends_a_worker_that_is_alone(place, stop):
    job = peer_job(place, free_addresses())
    worker = place.start("ps-worker", "--config", job, "--partition", 0)
    place.wait_for_event(worker, "listening")
    worker.send_signal(stop)
    end(worker, 10)
    assert worker.returncode == 75


def test_a_port_in_use_is_named(place):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = "127.0.0.1:%d" % holder.getsockname()[1]
        result = place.run("ps-worker", "--config", peer_job(place), "--partition", 0, "--listen", address)
        assert result.returncode == 69
        reason = events_of(result.stdout)["failed"]["reason"]
        assert address in reason and "in use" in reason
        result, events, _ = place.ps_run(peer_job(place, ["127.0.0.1:0", address]))
    assert result.returncode == 69
    problems = " ".join(events[-1]["problems"])
    assert f"can't listen on {address}: the port is in use" in problems
    assert "without worker 1 the others have no parameters" in problems
    assert not place.wait_until_quiet()


def test_two_workers_at_one_port_are_a_port_in_use(place):
    (address,) = free_addresses(1)
    result, events, _ = place.ps_run(peer_job(place, [address, address]))
    assert result.returncode == 69
    assert any("the port is in use" in problem for problem in events[-1]["problems"])
    assert not place.wait_until_quiet()


def test_a_path_is_no_host_to_meet_on(place):
    job = peer_job(place, ["unix:%s/a" % place.folder, "unix:%s/b" % place.folder])
    result = place.run("ps-run", job)
    assert result.returncode == 64
    assert "has no host" in result.stdout + result.stderr


@pytest.mark.parametrize("flag", ["--listen", "--rendezvous"])
def test_flags_of_peers_are_for_peers(place, flag):
    result = place.run("ps-worker", "--config", place.job(), "--servers", "h:1,h:2", "--partition", 0, flag, "h:1")
    assert result.returncode == 64 and "sync.mode peer" in result.stderr


# ---- The rendezvous.


def test_a_rendezvous_that_is_not_there(place):
    (address,) = free_addresses(1)
    job = peer_job(place, worker="{connect_timeout_ms: 700}")
    begun = time.monotonic()
    result = place.run("ps-worker", "--config", job, "--partition", 0, "--listen", "127.0.0.1:0",
                       "--rendezvous", address)
    assert result.returncode == 69
    assert 0.5 < time.monotonic() - begun < 15
    reason = events_of(result.stdout)["failed"]["reason"]
    assert f"no answer from the rendezvous at {address}" in reason


def test_a_server_is_no_rendezvous(place):
    _, listening = place.serve(place.job(servers="{addresses: ['127.0.0.1:0']}"))
    result = place.run("ps-worker", "--config", peer_job(place), "--partition", 0, "--listen", "127.0.0.1:0",
                       "--rendezvous", listening["address"])
    assert result.returncode == 78
    assert events_of(result.stdout)["failed"]["reason"] == f"whoever listens on {listening['address']} is no rendezvous"


def test_a_signal_ends_a_worker_that_looks_for_its_rendezvous(place):
    (address,) = free_addresses(1)
    worker = place.start("ps-worker", "--config", peer_job(place), "--partition", 0, "--listen", "127.0.0.1:0",
                         "--rendezvous", address)
    place.wait_for_event(worker, "listening")
    time.sleep(0.3)
    worker.send_signal(signal.SIGTERM)
    end(worker, 10)
    assert worker.returncode == 75


def test_who_does_not_come_is_named(place):
    external = External(place, peer_job(place, sync="{mode: peer, join_timeout_ms: 1000}"))
    worker = external.worker(0)
    reason = end(worker)["failed"]["reason"]
    assert worker.returncode == 69
    assert "after 1000 ms" in reason and "no worker yet: 1" in reason
    external.run.send_signal(signal.SIGTERM)
    external.end()


def test_the_cluster_file_names_the_rendezvous_and_no_servers(place):
    external = External(place, peer_job(place))
    assert external.cluster["servers"] == []
    assert external.cluster["rendezvous"].startswith("127.0.0.1:")
    assert external.cluster["strong"] is True
    external.run.send_signal(signal.SIGTERM)
    assert external.end()["result"] == "stopped"
    assert not place.wait_until_quiet()


def test_a_worker_that_is_done_stays_until_the_model_is_taken(place):
    external = External(place, peer_job(place, net=WIDE_NET, training="{batch: 64, max_steps: 3}"))
    workers = [external.worker(partition) for partition in range(2)]
    for worker in workers:
        place.wait_for_event(worker, "done")
    assert [worker.poll() for worker in workers] == [None, None]
    assert not (place.folder / "run" / "model.safetensors").exists()
    summary = external.end()
    assert external.run.returncode == 0 and summary["accuracy"] is not None
    assert (place.folder / "run" / "model.safetensors").exists()
    for worker in workers:
        assert worker.wait(30) == 0


def test_a_second_worker_of_one_attempt_is_refused_and_the_job_goes_on(place):
    external = External(place, peer_job(place))
    first = external.worker(0)
    place.wait_for_event(first, "listening")
    time.sleep(0.5)
    twin = external.worker(0)
    reason = end(twin)["failed"]["reason"]
    assert twin.returncode == 76 and "another worker of the same attempt" in reason
    second = external.worker(1)
    late = external.worker(1)
    for worker in (first, second, late):
        end(worker)
    assert first.returncode == 0 and sorted([second.returncode, late.returncode]) == [0, 76]
    assert external.end()["result"] == "done"


def test_an_attempt_that_died_before_all_had_met_can_be_made_good(place):
    external = External(place, peer_job(place))
    dead = external.worker(0, "--task-attempt", 0)
    place.wait_for_event(dead, "listening")
    time.sleep(0.5)
    dead.kill()
    dead.wait()
    # As in a stage that is tried again: the other is there before the dead one's place is taken.
    workers = [external.worker(1, "--task-attempt", 3)]
    time.sleep(1)
    workers.append(external.worker(0, "--task-attempt", 2))
    for worker in workers:
        assert "done" in end(worker)
    assert external.end()["result"] == "done"


def test_a_newer_attempt_after_all_had_met_ends_the_job(place):
    external = External(place, peer_job(place, training=LONG))
    workers = [external.worker(partition) for partition in range(2)]
    for worker in workers:
        place.wait_for_event(worker, "progress")
    newer = external.worker(1, "--task-attempt", 1)
    reason = end(newer)["failed"]["reason"]
    assert newer.returncode == 76
    assert "attempt 0.0 is gone" in reason and "the job has to begin again" in reason
    summary = external.end()
    assert external.run.returncode == 1 and summary["result"] == "failed"
    assert any("worker 1 was started again" in problem for problem in summary["problems"])
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        end(worker)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_of_somebody_elses_ends_the_job(place, victim):
    external = External(place, peer_job(place, training=LONG))
    workers = [external.worker(partition) for partition in range(2)]
    for worker in workers:
        place.wait_for_event(worker, "progress")
    workers[victim].kill()
    summary = external.end()
    assert external.run.returncode == 1 and summary["result"] == "failed"
    assert any("the job has to begin again" in problem for problem in summary["problems"]), summary["problems"]
    assert "failed" in end(workers[1 - victim])
    assert workers[1 - victim].returncode == 69


# ---- All by ps-run.


def test_ps_run_runs_peers(place):
    result, events, run = place.ps_run(peer_job(place))
    assert result.returncode == 0, result.stdout + result.stderr
    assert events[-1]["accuracy"] > 0.4
    assert sorted(path.name for path in (run / "logs").iterdir()) == ["worker-0.log", "worker-1.log"]
    assert not place.wait_until_quiet()


def test_a_killed_worker_ends_the_run_and_is_named(place):
    process = place.start("ps-run", peer_job(place, training=LONG), "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    os.kill(worker_pid(place, 1), signal.SIGKILL)
    summary = place.wait_for_event(process, "summary")
    assert process.wait(30) == 1
    problem = next(problem for problem in summary["problems"] if "worker 1 ended (killed by signal 9" in problem)
    assert "its share of the parameters is gone with it, so the job has to begin again" in problem
    assert not place.wait_until_quiet()


def test_a_killed_ps_run_takes_its_workers_along(place):
    process = place.start("ps-run", peer_job(place, training=LONG), "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    process.kill()
    process.wait()
    assert not place.wait_until_quiet()


@pytest.mark.parametrize("moment", [0, 0.05, 0.2, 0.5, 1.0, 2.0])
def test_an_interrupt_at_any_moment_leaves_nobody(place, moment):
    process = place.start("ps-run", peer_job(place, training=LONG), "--run-dir", place.folder / "run")
    time.sleep(moment)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    # Before it can handle a signal it just dies of it.
    assert process.returncode in (130, -signal.SIGINT)
    assert time.monotonic() - begun < 15
    assert not place.wait_until_quiet()


def test_an_interrupt_while_workers_wait_for_one_that_loads_leaves_nobody(place):
    # Stopped while it reads all of its data, it has met the others and comes no further.
    process = place.start("ps-run", peer_job(place, data=data_section(0)), "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "servers")
    os.kill(worker_pid(place, 1), signal.SIGSTOP)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not place.wait_until_quiet()


def test_an_interrupt_in_the_final_evaluation_leaves_nobody(place):
    job = peer_job(place, net=WIDE_NET, training="{batch: 64, max_steps: 3}")
    process = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run")
    logs = [place.folder / "run" / "logs" / f"worker-{i}.log" for i in range(2)]
    wait_for(lambda: all(log.exists() and "shards stay up" in log.read_text() for log in logs))
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    summary = place.wait_for_event(process, "summary")
    assert process.wait(30) == 130 and summary["result"] == "stopped"
    assert not place.wait_until_quiet()


def test_a_worker_killed_before_the_model_was_taken_is_no_success(place):
    job = peer_job(place, net=WIDE_NET, training="{batch: 64, max_steps: 3}")
    process = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run")
    log = place.folder / "run" / "logs" / "worker-1.log"
    wait_for(lambda: log.exists() and "shards stay up" in log.read_text())
    os.kill(worker_pid(place, 1), signal.SIGKILL)
    summary = place.wait_for_event(process, "summary")
    assert process.wait(30) == 1
    assert any("worker 1 ended (killed by signal 9" in problem for problem in summary["problems"])
    assert not place.wait_until_quiet()
