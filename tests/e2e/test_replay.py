"""Recorded runs, and the same runs again: ps-run --record, ps-server --record, ps-replay."""

import json
import os
import random
import resource
import signal
import struct
import zlib

import pytest

from tests.e2e.harness import LONG

FILE_HEAD = 16
RECORD_HEAD = 32
PUSH = 21
PUSH_HEAD = 12 + 96

# Several parts a shard.
SERVERS = "{addresses: ['127.0.0.1:0', '127.0.0.1:0'], shards: 2, part_bytes: 8192}"


def recorded(place, **changes):
    changes.setdefault("servers", SERVERS)
    changes.setdefault("optimizer", "{name: momentum, learning_rate: 0.02}")
    result, _, run = place.ps_run(place.job(**changes), "--record")
    assert result.returncode == 0, result.stdout + result.stderr
    return run


def replay(place, folder, *arguments):
    result = place.run("ps-replay", folder, "--json", *arguments)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return result, lines[-1] if lines else None


def records(data):
    """Where each record of a log begins, and its kind."""
    at = FILE_HEAD
    while at < len(data):
        size, _, _, _, kind = struct.unpack_from("<IIQqI", data, at)
        yield at, kind
        at += RECORD_HEAD + size
    assert at == len(data)


def seal(data, at):
    """Makes the checksums of a record right again."""
    (size,) = struct.unpack_from("<I", data, at)
    body = at + RECORD_HEAD
    struct.pack_into("<I", data, at + 4, zlib.crc32(data[body : body + size]))
    struct.pack_into("<I", data, at + 28, zlib.crc32(data[at : at + 28]))


@pytest.mark.parametrize("mode", ["downpour", "asp", "ssp", "easgd", "local_sgd", "bsp"])
def test_a_recorded_run_ends_in_the_same_bits_with_any_number_of_servers(place, mode):
    run = recorded(place, sync="{mode: %s}" % mode)
    names = sorted(path.name for path in (run / "record").iterdir())
    assert names == [f"server-{i}-shard-{j}.events" for i in range(2) for j in range(2)]
    model = (run / "model.safetensors").read_bytes()
    checksums = set()
    for servers, shards in [(1, 1), (2, 2), (3, 1), (3, 2)]:
        out = place.folder / f"again-{servers}-{shards}.safetensors"
        result, verdict = replay(place, run, "--servers", servers, "--shards", shards, "--model", out)
        assert result.returncode == 0, result.stdout + result.stderr
        assert verdict["result"] == "same bits"
        assert verdict["checksum"] == verdict["recorded_checksum"]
        assert {tuple(part["replayed"]) for part in verdict["parts"]} == {
            (server, shard) for server in range(servers) for shard in range(shards)
        }
        assert out.read_bytes() == model
        checksums.add(verdict["checksum"])
    assert len(checksums) == 1
    assert not place.wait_until_quiet()


def test_a_worker_that_is_killed_and_comes_again_is_replayed_as_it_was(place):
    cluster_file = place.folder / "cluster.json"
    job = place.job(servers=SERVERS, training="{batch: 16, epochs: 25}",
                    worker="{heartbeat_ms: 50, lease_ms: 1000}", run="{record: true, evaluations: 0}",
                    optimizer="{name: adam, learning_rate: 0.001}", sync="{mode: asp}")
    run = place.folder / "run"
    supervisor = place.start("ps-run", job, "--json", "--run-dir", run, "--launcher", "external",
                             "--cluster-file", cluster_file)
    place.wait_for_event(supervisor, "servers")
    place.wait_until(cluster_file.exists)
    resolved = json.loads(cluster_file.read_text())["job_file"]

    def worker(partition, attempt):
        return place.start("ps-worker", "--config", resolved, "--partition", partition, "--task-attempt", attempt)

    first, second = worker(0, 0), worker(1, 0)
    place.wait_for_event(second, "progress")
    second.kill()
    second.wait()
    third = worker(1, 1)
    for process in (first, third):
        process.communicate(timeout=100)
        assert process.returncode == 0
    place.wait_for_event(supervisor, "summary")
    assert supervisor.wait(30) == 0
    model = (run / "model.safetensors").read_bytes()
    for servers in (1, 2, 3):
        out = place.folder / f"again-{servers}.safetensors"
        result, verdict = replay(place, run, "--servers", servers, "--model", out)
        assert result.returncode == 0, result.stdout + result.stderr
        assert verdict["result"] == "same bits"
        assert out.read_bytes() == model
    events = place.run("ps-replay", run, "--events", "--json").stdout.splitlines()
    joins = [event for event in map(json.loads, events) if event["what"] == "join" and event.get("worker") == 1]
    assert len(joins) == 2 * 4
    assert all("goes on after push" in event["also"][0] for event in joins)


def test_a_killed_server_leaves_a_recording_up_to_its_last_moment(place):
    job = place.job(servers=SERVERS, training=LONG)
    process = place.start("ps-run", job, "--json", "--record", "--run-dir", place.folder / "run")
    for _ in range(5):
        place.wait_for_event(process, "progress")
    victim = next(pid for pid, command in place.processes().items() if "--index 1" in command)
    os.kill(victim, signal.SIGKILL)
    place.wait_for_event(process, "summary")
    process.communicate(timeout=30)
    result, verdict = replay(place, place.folder / "run")
    assert result.returncode == 1
    assert verdict["result"] == "broken off"
    assert verdict["marks"] > 0
    assert ["broken_off" in log for log in verdict["logs"]] == [False, False, True, True]
    assert all(log["events"] > 10 for log in verdict["logs"])
    text = place.run("ps-replay", place.folder / "run").stdout
    assert "server-1-shard-0" in text and "there is no end to compare with" in text


def test_a_recording_that_finds_no_room_breaks_off_and_the_training_goes_on(place):
    job = place.job(servers="{addresses: ['127.0.0.1:0'], shards: 1}", workers="1", training="{batch: 16, epochs: 2}")
    folder = place.folder / "record"
    log = place.folder / "server.log"
    server = place.start("ps-server", "--config", job, "--record", folder, "--log-file", log,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)))
    address = json.loads(server.stdout.readline())["address"]
    worker = place.run("ps-worker", "--config", job, "--servers", address, "--partition", 0)
    assert worker.returncode == 0, worker.stderr
    server.send_signal(signal.SIGTERM)
    assert server.wait(15) == 0
    assert log.read_text().count("the recording breaks off here, the training goes on") == 1
    assert "File too large" in log.read_text()
    result, verdict = replay(place, folder)
    assert result.returncode == 1
    assert verdict["result"] == "broken off" and verdict["events"] > 1
    assert "File too large" in verdict["logs"][0]["broken_off"]


def test_where_nothing_would_be_recorded_that_is_said(place):
    job = place.job(sync="{mode: peer}", servers="{addresses: ['127.0.0.1:0', '127.0.0.1:0']}")
    result, events, _ = place.ps_run(job, "--record")
    assert result.returncode == 64
    assert "nothing records them" in events[-1]["reason"]


def test_a_recording_is_not_written_over(place):
    run = recorded(place)
    result = place.run("ps-server", "--config", run / "job.yaml", "--index", 1, "--listen", "127.0.0.1:0",
                       "--metrics", "127.0.0.1:0", "--record", run / "record")
    assert result.returncode == 64
    assert "server-1-shard-0.events is there already" in result.stderr


def test_a_gradient_that_is_not_what_it_was_is_found(place):
    run = recorded(place, sync="{mode: asp}")
    log = run / "record" / "server-1-shard-1.events"
    data = bytearray(log.read_bytes())
    pushes = [at for at, kind in records(data) if kind == PUSH]
    at = pushes[len(pushes) // 3]
    struct.pack_into("<f", data, at + RECORD_HEAD + PUSH_HEAD, 1.0)
    seal(data, at)
    log.write_bytes(data)
    (number,) = struct.unpack_from("<Q", data, at + 8)
    (part,) = struct.unpack_from("<I", data, at + RECORD_HEAD + 12 + 24)
    for servers in (1, 2):
        result, verdict = replay(place, run, "--servers", servers)
        assert result.returncode == 1
        assert verdict["result"] == "different"
        difference = verdict["first_difference"]
        assert difference["part"] == part and difference["log"] == "server-1-shard-1"
        assert difference["same_after"] < number <= difference["differs_after"]
        assert [p["part"] for p in verdict["parts"] if "difference" in p] == [part]
    text = place.run("ps-replay", run)
    assert f"DIFFERENT\nfirst in part {part} in server-1-shard-1" in text.stdout


def test_damage_is_named_with_its_file_and_its_place(place):
    run = recorded(place)
    log = run / "record" / "server-0-shard-1.events"
    data = bytearray(log.read_bytes())
    at = [at for at, kind in records(data) if kind == PUSH][3]
    data[at + RECORD_HEAD + PUSH_HEAD] ^= 1
    log.write_bytes(data)
    for arguments in (["--servers", 1], ["--servers", 3], ["--events"]):
        result = place.run("ps-replay", run, *arguments)
        assert result.returncode == 65
        assert f"{log}: the record at byte {at} is damaged" in result.stderr
        assert result.stderr.count("\n") == 1


def test_the_events_tell_what_was_decided(place):
    run = recorded(place)
    lines = place.run("ps-replay", run, "--events").stdout.splitlines()
    assert lines[0].split() == ["seconds", "shard", "event", "what", "worker", "part", "clock", "sequence", "from",
                                "stale", "decided"]
    seconds = [float(line.split()[0]) for line in lines[1:]]
    assert seconds == sorted(seconds)
    events = [json.loads(line) for line in place.run("ps-replay", run, "--events", "--json").stdout.splitlines()]
    assert len(events) == len(lines) - 1
    pushes = [event for event in events if event["what"] == "push"]
    _, verdict = replay(place, run)
    assert len(pushes) == sum(part["updates"] for part in verdict["parts"])
    for part in verdict["parts"]:
        mine = [event for event in pushes if event["part"] == part["part"]]
        # Each is the next update, made from parameters so many updates ago.
        assert [event["decided"] for event in mine] == [f"update {i + 1}" for i in range(len(mine))]
        assert all(event["from"] + event["staleness"] == i for i, event in enumerate(mine))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["samples"] == 2 * 4000


def test_a_replay_can_stop_before_an_event(place):
    run = recorded(place)
    result, verdict = replay(place, run, "--until", 20, "--until", "1/1:0", "--servers", 2)
    assert result.returncode == 0
    assert verdict["result"] == "broken off"
    assert [log["events"] == 0 for log in verdict["logs"]] == [False, False, False, True]
    listed = place.run("ps-replay", run, "--events", "--json", "--until", "20").stdout.splitlines()
    assert max(json.loads(line)["event"] for line in listed) <= 20
    for bad in ("x", "2/0:5", "1:2:3", "0/0:", "-1"):
        result = place.run("ps-replay", run, f"--until={bad}")
        assert result.returncode == 64 and "--until" in result.stderr


def test_what_is_no_recording_is_refused(place):
    result = place.run("ps-replay", place.folder)
    assert result.returncode == 64 and "has no recording" in result.stderr
    assert place.run("ps-replay", place.folder / "none").returncode == 64
    assert place.run("ps-replay").returncode == 64
    assert place.run("ps-replay", place.folder, "--servers", 0).returncode == 64
    run = recorded(place)
    assert place.run("ps-replay", run, "--servers", 2000).returncode == 64
    result = place.run("ps-replay", run, "--model", place.folder / "none" / "model.safetensors")
    assert result.returncode == 64 and "there is no such folder" in result.stderr
    (run / "record" / "server-0-shard-1.events").unlink()
    result = place.run("ps-replay", run)
    assert result.returncode == 64
    assert "server-0-shard-1.events is missing: the run had 2 servers of 2 shards" in result.stderr


def test_garbage_ends_in_a_sentence(place):
    run = recorded(place, training="{batch: 64, max_steps: 20}")
    log = run / "record" / "server-0-shard-0.events"
    good = log.read_bytes()
    places = list(records(good))
    dice = random.Random(5)
    for round in range(60):
        data = bytearray(good)
        if round % 3 == 0:
            data = bytearray(dice.randbytes(dice.randrange(2000)))
        elif round % 3 == 1:
            del data[dice.randrange(len(data)) :]
        else:
            # Not what was written, though its checksums are right.
            at, _ = dice.choice(places)
            (size,) = struct.unpack_from("<I", data, at)
            for _ in range(1 + dice.randrange(4)):
                data[at + dice.randrange(RECORD_HEAD + min(size, PUSH_HEAD))] = dice.randrange(256)
            struct.pack_into("<I", data, at, size)
            seal(data, at)
        log.write_bytes(data)
        for arguments in ([], ["--events"], ["--servers", "1", "--json"]):
            result = place.run("ps-replay", run, *arguments)
            assert result.returncode in (0, 1, 64, 65, 70), (round, arguments, result)
            assert result.returncode in (0, 1) or result.stderr.startswith("ps-replay: ")
    assert not place.wait_until_quiet()
