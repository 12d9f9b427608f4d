"""ps-ctl: a running job looked at and changed from the command line."""

import json
import signal

from tests.e2e.harness import LONG


def running(place, **changes):
    """A job that trains until it is stopped, and its run folder."""
    changes.setdefault("training", LONG)
    run = place.folder / "run"
    process = place.start("ps-run", place.job(**changes), "--json", "--run-dir", run)
    place.wait_for_event(process, "progress")
    return process, run


def stop(place, process):
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert not place.wait_until_quiet()


def status(place, run):
    result = place.run("ps-ctl", "status", run, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def await_step(place, run, step):
    while True:
        seen = status(place, run)
        if all(worker["step"] >= step for worker in seen["workers"]):
            return seen


def test_status_says_how_far_the_workers_are(place):
    process, run = running(place)
    seen = await_step(place, run, 1)
    assert seen["mode"] == "downpour" and seen["changes"] == []
    assert [worker["state"] for worker in seen["workers"]] == ["LIVE", "LIVE"]
    text = place.run("ps-ctl", "status", run)
    assert "worker 1  LIVE" in text.stdout
    stop(place, process)


def test_settings_change_while_the_job_runs(place):
    process, run = running(place)
    clocks = []
    for version, assignments in enumerate(
        (["sync.n_push=2", "sync.n_fetch=3"], ["optimizer.learning_rate=0.01"], ["sync.mode=bsp"], ["sync.mode=ssp", "sync.s=1"]), 1
    ):
        result = place.run("ps-ctl", "set", run, *assignments, "--json")
        assert result.returncode == 0, result.stderr
        change = json.loads(result.stdout)
        assert change["version"] == version
        clocks.append(change["from_clock"])
        # All workers go by it, and go on.
        await_step(place, run, change["from_clock"] + 20)
    seen = status(place, run)
    assert seen["mode"] == "ssp"
    assert abs(seen["learning_rate"] - 0.01) < 1e-6
    assert [change["from_clock"] for change in seen["changes"]] == clocks == sorted(clocks)
    stop(place, process)
    told = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [event["from_clock"] for event in told if event["event"] == "settings"] == clocks
    log = "".join((run / "logs" / f"worker-{i}.log").read_text() for i in (0, 1))
    for version in range(1, 5):
        assert log.count(f"settings version {version}, sync mode") == 2


def test_a_change_that_is_to_come_does_not_count_yet(place):
    process, run = running(place)
    await_step(place, run, 1)
    far = max(worker["step"] for worker in status(place, run)["workers"]) + 100000
    assert place.run("ps-ctl", "set", run, "sync.n_push=7", "optimizer.learning_rate=0.5", "--at", far).returncode == 0
    seen = status(place, run)
    assert seen["learning_rate"] != 0.5
    (change,) = seen["changes"]
    assert change["pending"] and "sync.n_push: 5 -> 7" in change["changes"]
    text = place.run("ps-ctl", "status", run).stdout
    assert f"settings version 1 to come, from clock {far}: " in text and "sync.n_push: 5 -> 7" in text
    result = place.run("ps-ctl", "set", run, "sync.n_push=9", "--at", 1 << 39)
    assert result.returncode == 64 and "would never count" in result.stderr
    stop(place, process)


def test_a_run_that_has_ended_is_said_to_have(place):
    process, run = running(place)
    stop(place, process)
    result = place.run("ps-ctl", "status", run)
    assert result.returncode == 1
    assert f"has ended; ps-run {run} shows its summary" in result.stderr
    result = place.run("ps-ctl", "status", place.job())
    assert result.returncode == 64 and "name the run folder" in result.stderr


def test_what_can_not_change_is_refused_and_changes_nothing(place):
    process, run = running(place)
    for assignment, reason in (
        ("training.batch=5", "only sync.* and optimizer.learning_rate can change"),
        ("sync.s=2", "belongs to mode ssp, not to downpour"),
        ("sync.n_push=0", "is not between 1 and"),
        ("sync.n_pusch=3", "did you mean sync.n_push?"),
        ("sync.mode=local_sgd", "from sync.mode downpour to local_sgd"),
        ("sync.n_push=5", "already"),
        ("optimizer.learning_rate=-1", "is not at least 0"),
        ("optimizer.learning_rate=1e-60", "would count as 0"),
        ("optimizer.name=adam", "only sync.* and optimizer.learning_rate can change"),
    ):
        result = place.run("ps-ctl", "set", run, assignment)
        assert result.returncode in (1, 64), (assignment, result)
        assert reason in result.stderr
    assert status(place, run)["changes"] == []
    stop(place, process)


def test_servers_that_are_not_there(place):
    job = place.job(servers="{addresses: ['127.0.0.1:1']}")
    result = place.run("ps-ctl", "status", job)
    assert result.returncode == 69
    assert "server 0 at 127.0.0.1:1" in result.stderr


def test_servers_of_another_job(place):
    process, run = running(place)
    text = (run / "job.yaml").read_text().replace('name: "small"', 'name: "other"', 1)
    other = place.folder / "other.yaml"
    other.write_text(text)
    result = place.run("ps-ctl", "set", other, "sync.n_push=2")
    assert result.returncode == 1
    assert "works for job 'small', not for 'other'" in result.stderr
    stop(place, process)


def test_servers_that_are_not_the_jobs_in_its_order_are_refused(place):
    process, run = running(place)
    first, second = _addresses(run)
    for servers, reason in (
        (f"{first}", "--servers names 1 servers; the job has 2"),
        (f"{first},{first}", "says that it is server 0"),
        (f"{second},{first}", "says that it is server 1"),
        (f"{first},there", "--servers: "),
    ):
        result = place.run("ps-ctl", "set", run, "sync.n_push=7", "--servers", servers)
        assert result.returncode in (1, 64), result
        assert reason in result.stderr
    for clock in ("-1", "18446744073709551615"):
        assert place.run("ps-ctl", "set", run, "sync.n_push=7", "--at", clock).returncode == 64
    assert status(place, run)["changes"] == []
    stop(place, process)


def _addresses(run):
    text = (run / "job.yaml").read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("addresses"))
    return [part for part in line.split('"') if ":" in part and part[0].isdigit()]
