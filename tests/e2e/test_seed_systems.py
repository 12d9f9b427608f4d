"""The jobs of configs/seed, on little data: each runs, learns, and does what marks the system that it is named after."""

import array
import json

import pytest

from tests.e2e.harness import REPOSITORY, free_address, metrics, total

SEED = REPOSITORY / "configs" / "seed"
SAMPLES = 4000
BATCHES = 32  # of 64 in one worker's half of the samples

# LeNet's tensors, each beginning at a multiple of 64 bytes: 16 floats.
LENET = [20 * 25, 20, 50 * 20 * 25, 50, 500 * 800, 500, 10 * 500, 10]
ELEMENTS = sum(-(-tensor // 16) * 16 for tensor in LENET)


def flags(**changes):
    """ps-run's --set for a job on little data; a name's __ is a dot."""
    changes = {"data.limit": SAMPLES, "run.evaluations": 1, "worker.heartbeat_ms": 50, **changes}
    return [part for key, value in changes.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def resolved(place, name, **changes):
    """A seed job with other keys as a file of its own, for programs that have no --set."""
    checked = place.run("ps-run", "--check", "--json", SEED / f"{name}.yaml", *flags(**changes))
    path = place.folder / f"{name}.yaml"
    path.write_text(json.dumps(json.loads(checked.stdout)["job"]))
    return path


def run(place, name, *arguments, **changes):
    """A seed job to its end; the summary."""
    result, events, _ = place.ps_run(SEED / f"{name}.yaml", *flags(**changes), *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    assert events[-1]["result"] == "done"
    return events[-1]


def parameters(path):
    """All floats of a model in safetensors, as they stand in the file."""
    data = path.read_bytes()
    return array.array("f", data[8 + int.from_bytes(data[:8], "little"):])


def section(place, name, key):
    checked = place.run("ps-run", "--check", "--json", SEED / f"{name}.yaml")
    return json.loads(checked.stdout)["job"][key]


@pytest.mark.parametrize("name, tau, vectors", [("sparknet", 10, 1), ("dl4j", 5, 2)])
def test_what_is_averaged_and_how_often(place, name, tau, vectors):
    # The optimizer's state of momentum stays with its worker, that of AdaGrad is averaged with the parameters.
    assert section(place, name, "sync")["tau"] == tau
    summary = run(place, name, training__epochs=5)
    steps = 5 * BATCHES
    assert [worker["steps"] for worker in summary["workers"]] == [steps] * 2
    assert summary["accuracy"] > 0.65
    exchanged = 4 * ELEMENTS * vectors
    rounds = -(-steps // tau)
    assert summary["bytes_from_servers"] == 2 * exchanged * rounds
    # One or both workers offer initial values, the later one perhaps only those of shards that have none yet.
    assert exchanged <= summary["bytes_to_servers"] - 2 * exchanged * rounds <= 2 * exchanged
    assert summary["mean_staleness"] == 0 and summary["refused"] == {}


@pytest.mark.parametrize("name, optimizer", [("sparknet", "momentum"), ("dl4j", "adagrad"),
                                             ("caffeonspark", "momentum"), ("tensorspark", "adam")])
def test_the_optimizer_is_the_originals(place, name, optimizer):
    assert section(place, name, "optimizer")["name"] == optimizer


@pytest.mark.parametrize("name", ["sparknet", "caffeonspark"])
def test_the_solver_is_that_of_caffes_lenet(place, name):
    optimizer, schedule = section(place, name, "optimizer"), section(place, name, "schedule")
    assert [optimizer[key] for key in ("learning_rate", "momentum", "weight_decay")] == pytest.approx([0.01, 0.9, 5e-4])
    assert schedule["policy"] == "inv"
    assert [schedule[key] for key in ("gamma", "power")] == pytest.approx([1e-4, 0.75])
    learning = [layer for layer in section(place, name, "net") if "filler" in layer]
    assert [(layer["filler"], layer["lr_mult"], layer["bias_lr_mult"]) for layer in learning] == [("xavier", 1, 2)] * 4


def test_workers_that_own_the_parameters_need_no_servers(place):
    process = place.start("ps-run", SEED / "caffeonspark.yaml", "--json", "--run-dir", place.folder / "run",
                          *flags(training__epochs=100))
    place.wait_for_event(process, "progress")
    assert place.pids_of("ps-server") == []
    assert len(place.pids_of("ps-worker")) == 2
    process.terminate()
    process.communicate(timeout=30)
    assert not place.wait_until_quiet()


def test_workers_that_own_the_parameters_train_what_servers_would(place):
    folder = place.folder
    summary = run(place, "caffeonspark", training__epochs=4)
    assert summary["accuracy"] > 0.6
    (folder / "run").rename(folder / "peer")
    run(place, "caffeonspark", training__epochs=4, sync="{mode: bsp}")
    (folder / "run").rename(folder / "bsp")
    peer, bsp = (parameters(folder / kind / "model.safetensors") for kind in ("peer", "bsp"))
    assert peer.tobytes() == bsp.tobytes()


def test_iterations_on_two_workers_are_those_of_one_with_twice_the_batch(place):
    folder = place.folder
    few = {"training__max_steps": 20, "training__shuffle": "false"}
    assert {worker["steps"] for worker in run(place, "caffeonspark", **few)["workers"]} == {20}
    (folder / "run").rename(folder / "two")
    run(place, "caffeonspark", workers=1, training__batch=64, sync="{mode: bsp}", **few)
    two, one = (parameters(folder / kind / "model.safetensors") for kind in ("two", "run"))
    assert len(two) == len(one) == sum(LENET)
    # The same 64 samples an iteration, summed in another order.
    assert max(abs(a - b) for a, b in zip(two, one)) < 1e-4


def test_pushes_that_come_too_late_are_refused_and_counted(place):
    pages = [free_address(), free_address()]
    process = place.start(
        "ps-run", SEED / "tensorspark.yaml", "--json", "--run-dir", place.folder / "run", "--slow-down", "1=5",
        *flags(training__epochs=4, sync__max_age=1, sync__warmup_steps=10,
               **{"servers.metrics_addresses": "[%s]" % ", ".join(pages)}))
    events = []
    seen = {}
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "progress":
            try:
                seen = [metrics(page) for page in pages]
            except OSError:
                pass  # the run is over
    assert process.wait(30) == 0, process.stderr.read()
    summary = events[-1]
    assert summary["result"] == "done" and summary["accuracy"] > 0.5
    assert [worker["samples"] for worker in summary["workers"]] == [4 * SAMPLES / 2] * 2
    assert 0 < total(seen, "downpour_refused_frames_total", 'reason="too_old"') <= summary["refused"]["too_old"]
    # Adam's two vectors stand beside the parameters, on the servers.
    assert total(seen, "downpour_table_elements") == ELEMENTS
    assert total(seen, "downpour_table_bytes") >= 3 * 4 * ELEMENTS


def test_gradients_of_five_steps_make_one_push(place):
    summary = run(place, "tensorspark", training__epochs=4, sync__warmup_steps=10, sync__max_age=0)
    steps = 4 * BATCHES
    assert summary["accuracy"] > 0.5 and summary["refused"] == {}
    exchanges = 2 * -(-steps // 5)
    assert summary["bytes_to_servers"] // (4 * ELEMENTS) - exchanges in (1, 2)
    assert summary["bytes_from_servers"] <= exchanges * 4 * ELEMENTS


def test_nobody_begins_before_the_parameters_are_warm(place):
    job = resolved(place, "tensorspark", training__epochs=4, sync__warmup_steps=30)
    servers, pages = place.serve_all(job)
    second = place.start("ps-worker", "--config", job, "--servers", servers, "--partition", 1)
    # It is there and has its data; alone it takes no step.
    for _ in range(5):
        assert place.wait_for_event(second, "progress")["step"] == 0
    first = place.start("ps-worker", "--config", job, "--servers", servers, "--partition", 0)
    for worker in (first, second):
        assert place.wait_for_event(worker, "done")["samples"] == 4 * SAMPLES / 2
    # The second's pushes came when they were welcome.
    seen = [metrics(page) for page in pages]
    assert total(seen, "downpour_refused_frames_total", 'reason="clock_ahead"') == 0
