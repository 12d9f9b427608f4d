"""Servers on Unix sockets, for whoever has all on one machine."""

import json
import signal

from tests.e2e.harness import LONG


def sockets(place):
    """One that is relative to the working folder, one that is not."""
    return "{addresses: ['unix:a.sock', 'unix:%s/b.sock'], shards: 2}" % place.folder


def test_a_run_over_unix_sockets(place):
    result, events, _ = place.ps_run(place.job(servers=sockets(place)))
    assert result.returncode == 0, result.stderr
    by_name = {event["event"]: event for event in events}
    assert by_name["servers"]["addresses"] == [f"unix:{place.folder}/{name}.sock" for name in "ab"]
    assert by_name["summary"]["accuracy"] > 0.4
    assert not list(place.folder.glob("*.sock"))
    assert not place.wait_until_quiet()


def test_ps_ctl_finds_a_run_over_unix_sockets(place):
    job = place.job(servers=sockets(place), training=LONG)
    run = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(run, "progress")
    for target in (["run"], ["job.yaml", "--servers", f"unix:a.sock,unix:{place.folder}/b.sock"]):
        status = place.run("ps-ctl", "status", *target)
        assert status.returncode == 0 and "worker 1  LIVE" in status.stdout, status.stdout + status.stderr
    away = place.run("ps-ctl", "status", "job.yaml", "--servers", "unix:a.sock,unix:none.sock")
    assert away.returncode != 0 and "server 1 at unix:none.sock" in away.stderr
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert not place.wait_until_quiet()


def test_what_is_in_the_way_of_a_socket_is_said(place):
    job = place.job(servers="{addresses: ['unix:%s']}" % (place.folder / "none" / "ps.sock"))
    result, events, _ = place.ps_run(job)
    assert result.returncode == 69
    assert any(f"the folder {place.folder}/none is not there" in problem for problem in events[-1]["problems"])

    (place.folder / "ps.sock").write_text("of somebody")
    job = place.job(servers="{addresses: ['unix:ps.sock']}", worker="{connect_timeout_ms: 300}")
    said = place.run("ps-worker", "--config", job, "--partition", 0)
    assert said.returncode == 69
    failed = json.loads(said.stdout.splitlines()[-1])
    assert "no answer from server 0 at unix:ps.sock" in failed["reason"]


def test_a_server_that_was_killed_may_have_its_socket_again(place):
    job = place.job(servers="{addresses: ['unix:ps.sock']}", workers="1")
    server, listening = place.serve(job)
    server.kill()
    server.wait()
    assert (place.folder / "ps.sock").exists()
    again, _ = place.serve(job)
    third = place.run("ps-server", "--config", job)
    assert third.returncode == 69 and f"process {again.pid} listens there" in third.stderr
    worker = place.run("ps-worker", "--config", job, "--partition", 0, "--servers", listening["address"])
    assert worker.returncode == 0, worker.stderr
    again.send_signal(signal.SIGTERM)
    assert again.wait(15) == 0
