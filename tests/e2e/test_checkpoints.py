"""Checkpoints: written while a job trains, damaged, and gone on from; ps-ctl checkpoint and restore."""

import json
import os
import resource
import signal
import time

import pytest

from tests.e2e.harness import LONG, data_section, metrics, total

SERVERS = "{addresses: ['127.0.0.1:0', '127.0.0.1:0'], shards: 2, part_bytes: 8192}"
MOMENTUM = "{name: momentum, learning_rate: 0.02}"


EVEN = data_section(limit=4096)  # all batches are whole


def bounded(steps):
    return "{batch: 64, epochs: 1000, max_steps: %d}" % steps


def trained(place, name, job, *arguments):
    """As place.ps_run, in a run folder of that name."""
    run = place.folder / name
    result = place.run("ps-run", job, "--json", "--run-dir", run, *arguments)
    return result, [json.loads(line) for line in result.stdout.splitlines()], run


def files(run):
    return sorted((run / "checkpoints").glob("*/*.checkpoint"))


def numbers(run):
    return sorted(int(path.name) for path in (run / "checkpoints").iterdir())


def killed_after_a_checkpoint(place, **changes):
    """The folder of a run whose server was killed once there was a checkpoint, and the event that told of that."""
    changes.setdefault("servers", SERVERS)
    changes.setdefault("optimizer", MOMENTUM)
    run = place.folder / "killed"
    job = place.job(training=LONG, checkpoint="{every_steps: 50, keep: 3}", data=EVEN, **changes)
    process = place.start("ps-run", job, "--json", "--run-dir", run)
    event = place.wait_for_event(process, "checkpoint")
    victim = next(pid for pid, command in place.processes().items() if "--index 1" in command)
    os.kill(victim, signal.SIGKILL)
    place.wait_for_event(process, "summary")
    process.communicate(timeout=30)
    assert not place.wait_until_quiet()
    return run, event


@pytest.mark.parametrize("optimizer", [MOMENTUM, "{name: adam, learning_rate: 0.001}"])
def test_what_goes_on_from_a_checkpoint_ends_in_the_same_bits(place, optimizer):
    killed, event = killed_after_a_checkpoint(place, sync="{mode: bsp}", optimizer=optimizer)
    steps = event["clock"] + 60
    common = {"sync": "{mode: bsp}", "optimizer": optimizer, "training": bounded(steps), "data": EVEN}
    result, _, straight = trained(place, "straight", place.job(servers=SERVERS, **common))
    assert result.returncode == 0
    model = (straight / "model.safetensors").read_bytes()
    for addresses, shards in [(2, 2), (1, 1), (3, 2)]:
        servers = "{addresses: [%s], shards: %d, part_bytes: 16384}" % (", ".join(["'127.0.0.1:0'"] * addresses), shards)
        result, events, run = trained(place, f"again-{addresses}", place.job(servers=servers, **common), "--restore", killed)
        assert result.returncode == 0, result.stdout + result.stderr
        assert events[-1]["samples"] == 2 * 64 * steps
        assert (run / "model.safetensors").read_bytes() == model
    assert not place.wait_until_quiet()


@pytest.mark.parametrize("sync", ["{mode: downpour, n_fetch: 5, n_push: 5}", "{mode: asp}", "{mode: ssp, s: 2}", "{mode: easgd}",
                                  "{mode: local_sgd}"])
def test_in_any_mode_each_worker_goes_on_where_it_was(place, sync):
    gentle = "{name: momentum, learning_rate: 0.001}"
    killed, event = killed_after_a_checkpoint(place, sync=sync, optimizer=gentle)
    steps = 5000
    job = place.job(servers=SERVERS, optimizer=gentle, sync=sync, training=bounded(steps), data=EVEN)
    result, events, run = trained(place, "again", job, "--restore", killed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert events[-1]["samples"] == 2 * 64 * steps
    assert events[-1]["accuracy"] > 0.6
    log = (run / "logs" / "worker-0.log").read_text()
    assert "earlier attempts completed 0 samples" not in log
    assert event["bytes"] > 0
    assert not place.wait_until_quiet()


def test_the_latest_are_kept(place):
    run = place.folder / "run"
    process = place.start("ps-run", place.job(training=LONG, sync="{mode: asp}", checkpoint="{every_steps: 20, keep: 2}"),
                          "--json", "--run-dir", run)
    seen = [place.wait_for_event(process, "checkpoint")["number"] for _ in range(4)]
    assert seen == sorted(set(seen))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert len(numbers(run)) in (2, 3)  # the next may have been begun
    assert seen[-1] in numbers(run)


def test_what_is_damaged_is_named_and_the_one_before_is_taken(place):
    run = place.folder / "killed"
    job = place.job(servers=SERVERS, training=LONG, sync="{mode: bsp}", checkpoint="{every_steps: 50, keep: 3}")
    process = place.start("ps-run", job, "--json", "--run-dir", run)
    for _ in range(2):
        last = place.wait_for_event(process, "checkpoint")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not place.wait_until_quiet()
    whole = [number for number in numbers(run) if len(list((run / "checkpoints" / f"{number:08}").glob("*.checkpoint"))) == 2]
    assert len(whole) >= 2 and whole[-1] >= last["number"]
    victim = run / "checkpoints" / f"{whole[-1]:08}" / "server-1.checkpoint"
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 4
    victim.write_bytes(data)
    result, events, again = trained(place, "again", place.job(servers=SERVERS, sync="{mode: bsp}", training=bounded(5)),
                                    "--restore", run)
    assert result.returncode == 0, result.stdout + result.stderr
    passed_by = next(event["reason"] for event in events if event["event"] == "passed_by")
    assert f"checkpoint {whole[-1]} is not whole: {victim}" in passed_by and "is damaged" in passed_by
    for server in (0, 1):
        assert f"checkpoint {whole[-2]} of 2 servers is back" in (again / "logs" / f"server-{server}.log").read_text()
    for path in files(run):
        path.write_bytes(path.read_bytes()[:-10])
    result, _, _ = trained(place, "never", place.job(servers=SERVERS, sync="{mode: bsp}"), "--restore", run)
    assert result.returncode == 69
    assert "no whole checkpoint" in result.stdout and "the file ends at byte" in result.stdout


def test_another_jobs_checkpoint_is_refused(place):
    killed, _ = killed_after_a_checkpoint(place, sync="{mode: bsp}")
    cases = [({"workers": "3"}, "is of a job of 2 workers, and this one has 3"),
             ({"optimizer": "{name: adam, learning_rate: 0.001}"}, "is of optimizer momentum"),
             ({"sync": "{mode: peer}"}, "none are written yet"),
             ({"sync": "{mode: asp}"}, "whose clocks are others"),
             ({"servers": "{addresses: ['127.0.0.1:0'], part_bytes: 4096}"}, "servers.part_bytes has to be as much"),
             ({"name": "other"}, "is of job 'small'")]
    for i, (changes, sentence) in enumerate(cases):
        settings = {"servers": SERVERS, "optimizer": MOMENTUM, "sync": "{mode: bsp}", **changes}
        result, _, _ = trained(place, f"refused-{i}", place.job(**settings), "--restore", killed)
        assert result.returncode in (64, 69)
        assert sentence in result.stdout, result.stdout
    fewer = place.job(servers=SERVERS, optimizer=MOMENTUM, sync="{mode: bsp}", data=data_section(limit=2000))
    result, events, _ = trained(place, "fewer", fewer, "--restore", killed)
    assert result.returncode == 1
    assert "samples" in events[-1]["problems"][0], events[-1]
    result, _, _ = trained(place, "nothing", place.job(), "--restore", place.folder / "nowhere")
    assert result.returncode == 69
    assert "no whole checkpoint in" in result.stdout


def test_from_the_command_line(place):
    folder = place.folder / "kept"
    job = place.job(training=LONG, sync="{mode: bsp}", checkpoint="{folder: %s}" % folder)
    run = place.folder / "run"
    process = place.start("ps-run", job, "--json", "--run-dir", run)
    place.wait_for_event(process, "progress")
    for number in (1, 2):
        result = place.run("ps-ctl", "checkpoint", run, "--json")
        assert result.returncode == 0, result.stderr
        line = json.loads(result.stdout)
        assert line["number"] == number and line["clock"] > 0 and line["bytes"] > 0
        assert place.wait_for_event(process, "checkpoint")["number"] == number
    assert sorted(path.name for path in folder.iterdir()) == ["00000001", "00000002"]
    refused = place.run("ps-ctl", "restore", run)
    assert refused.returncode == 1
    assert "is at work; stop the workers first" in refused.stderr
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert not place.wait_until_quiet()


def test_servers_that_stay_go_back_once_their_workers_are_gone(place):
    folder = place.folder / "kept"
    job = place.job(training=LONG, sync="{mode: asp}", checkpoint="{folder: %s}" % folder, servers="{addresses: ['127.0.0.1:0']}",
                    worker="{lease_ms: 2000, heartbeat_ms: 300}")
    listening = place.serve(job)[1]
    address = listening["address"]
    workers = [place.start("ps-worker", "--config", job, "--servers", address, "--partition", i) for i in range(2)]
    flags = ["--servers", address]
    while json.loads(place.run("ps-ctl", "status", job, *flags, "--json").stdout)["workers"][0]["step"] == 0:
        pass
    assert place.run("ps-ctl", "checkpoint", job, *flags).returncode == 0
    page = metrics(listening["metrics"])
    assert total([page], "downpour_checkpoints_total") == 1 and total([page], "downpour_checkpoints_failed_total") == 0
    assert abs(total([page], "downpour_checkpoint_done_timestamp_seconds") - time.time()) < 60
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
    restored = place.run("ps-ctl", "restore", job, *flags, "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["number"] == 1
    missing = place.run("ps-ctl", "restore", job, *flags, "--number", 7)
    assert missing.returncode == 64 and "no whole checkpoint 7" in missing.stderr


def test_a_full_disk_ends_the_checkpoint_and_not_the_training(place):
    folder = place.folder / "kept"
    job = place.job(training=LONG, sync="{mode: asp}", servers="{addresses: ['127.0.0.1:0']}",
                    checkpoint="{folder: %s}" % folder)
    log = place.folder / "server.log"
    server = place.start("ps-server", "--config", job, "--log-file", log,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))
    listening = json.loads(server.stdout.readline())
    address = listening["address"]
    worker = place.start("ps-worker", "--config", job, "--servers", address, "--partition", 0)
    while json.loads(place.run("ps-ctl", "status", job, "--servers", address, "--json").stdout)["workers"][0]["step"] == 0:
        pass
    result = place.run("ps-ctl", "checkpoint", job, "--servers", address)
    assert result.returncode == 1
    assert "checkpoint 1 failed: can't write" in result.stderr and "File too large" in result.stderr
    assert not list(folder.rglob("*.checkpoint*"))
    assert total([metrics(listening["metrics"])], "downpour_checkpoints_failed_total") == 1
    before = json.loads(place.run("ps-ctl", "status", job, "--servers", address, "--json").stdout)["workers"][0]["step"]
    while json.loads(place.run("ps-ctl", "status", job, "--servers", address, "--json").stdout)["workers"][0]["step"] <= before:
        pass
    assert worker.poll() is None
