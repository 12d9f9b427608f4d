"""ps-run on servers that run already, and what it says where it cannot have them."""

import json
import os
import signal

import pytest

from tests.e2e.harness import LONG, free_address


def attached(place, job, servers, *arguments):
    return place.start("ps-run", job, "--attach", "--json", "--run-dir", place.folder / "run", "--set",
                       "servers.addresses=" + json.dumps(servers), *arguments)


def refusal(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 69, out + err
    return json.loads(out.splitlines()[-1])["problems"][0]


def test_servers_that_run_already_serve_one_run_and_stay(place):
    job = place.job()
    servers = [place.serve(job, index) for index in range(2)]
    addresses = [listening["address"] for _, listening in servers]
    summary = place.wait_for_event(attached(place, job, addresses), "summary")
    assert summary["result"] == "done" and summary["accuracy"] > 0.4
    assert (place.folder / "run" / "model.safetensors").exists()
    assert [server.poll() for server, _ in servers] == [None, None]

    (place.folder / "run").rename(place.folder / "first")
    said = refusal(attached(place, job, addresses, "--launcher", "external", "--cluster-file", place.folder / "cluster"))
    assert f"server 0 at {addresses[0]}: it holds what an earlier run trained; a ps-server serves one run" in said
    assert json.loads((place.folder / "cluster").read_text()) == {"error": said}
    for server, _ in servers:
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0


@pytest.mark.parametrize("changes, order, words", [
    ({"name": "other"}, (0, 1), "it works for job 'small', and this run is of 'other'"),
    ({}, (1, 0), "it is server 1 of its job"),
    ({"optimizer": "{name: adam}"}, (0, 1), "optimizer.name: \"sgd\" -> \"adam\"")])
def test_servers_of_another_job_are_refused(place, changes, order, words):
    job = place.job()
    addresses = [place.serve(job, index)[1]["address"] for index in range(2)]
    said = refusal(attached(place, place.job(**changes), [addresses[i] for i in order]))
    assert words in said


def test_a_server_that_is_not_there_is_named(place):
    address = free_address()
    job = place.job(servers="{addresses: ['%s']}" % address, worker="{connect_timeout_ms: 500}")
    assert f"server 0 at {address}: it does not answer" in refusal(attached(place, job, [address]))


def test_a_server_that_is_killed_ends_the_run(place):
    job = place.job(training=LONG, worker="{heartbeat_ms: 50, connect_timeout_ms: 500}")
    servers = [place.serve(job, index) for index in range(2)]
    process = attached(place, job, [listening["address"] for _, listening in servers])
    place.wait_for_event(process, "progress")
    os.kill(servers[1][0].pid, signal.SIGKILL)
    summary = place.wait_for_event(process, "summary")
    assert process.wait(30) == 1 and summary["result"] == "failed"
    assert any(f"server 1 at {servers[1][1]['address']}" in problem for problem in summary["problems"])
    assert place.pids_of("ps-worker") == []


@pytest.mark.parametrize("flags, words", [
    (("--set", "sync.mode=peer"), "the workers hold the parameters"), (("--record",), "run.record, --record")])
def test_what_running_servers_can_not_do(place, flags, words):
    process = attached(place, place.job(), ["127.0.0.1:1", "127.0.0.1:2"], *flags)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 64 and words in out
