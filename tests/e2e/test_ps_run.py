"""ps-run as its users know it: what it leaves, what it says, how it ends."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.e2e import tensors
from tests.e2e.harness import BINARIES, FASHION, LONG, REPOSITORY, data_section


def test_a_job_leaves_a_run_folder_with_everything_in_it(place):
    result, events, run = place.ps_run(place.job())
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["result"] == "done"
    assert summary["samples"] == 2 * 4000
    assert summary["accuracy"] > 0.4
    assert [worker["state"] for worker in summary["workers"]] == ["finished"] * 2
    assert (run / "plot.png").read_bytes()[1:4] == b"PNG"
    assert sorted(path.name for path in (run / "logs").iterdir()) == [
        "server-0.log", "server-1.log", "worker-0.log", "worker-1.log",
    ]
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"progress", "evaluation"} <= {line["event"] for line in metrics}
    assert events[-1]["event"] == "summary"
    assert not list(run.glob("*.part"))
    assert not place.wait_until_quiet()


def test_the_model_is_safetensors_of_the_nets_shape(place):
    result, _, run = place.ps_run(place.job())
    assert result.returncode == 0
    data = (run / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert header["ip1.weight"]["shape"] == [32, 784]
    assert header["ip2.bias"]["shape"] == [10]
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    assert len(data) == 8 + length + max(ends) == 8 + length + 4 * (32 * 784 + 32 + 10 * 32 + 10)


def test_training_starts_from_another_runs_model(place):
    _, _, run = place.ps_run(place.job())
    first = tensors.read(run / "model.safetensors")
    start = place.folder / "start.safetensors"
    tensors.write(start, {name: first[name] for name in ("ip1.weight", "ip1.bias", "ip2.bias")})
    job = place.job(optimizer="{name: sgd, learning_rate: 1e-30}", training="{batch: 64, start_from: %s}" % start)
    result = place.run("ps-run", job, "--run-dir", place.folder / "second")
    assert result.returncode == 0, result.stderr
    second = tensors.read(place.folder / "second" / "model.safetensors")
    for name in first:
        assert (second[name].tobytes() == first[name].tobytes()) == (name != "ip2.weight"), name
    assert second["ip2.weight"].std() > 0
    logs = "".join(path.read_text() for path in (place.folder / "second" / "logs").glob("worker-*.log"))
    assert logs.count("starts from %s; as their fillers say: ip2.weight" % start) >= 1


def test_a_model_to_start_from_that_does_not_fit_is_told_before_anything_starts(place):
    start = place.folder / "start.safetensors"
    job = place.job(training="{batch: 64, start_from: start.safetensors}")
    missing = place.run("ps-run", job)
    assert missing.returncode == 64 and "training.start_from: no model at %s" % start in missing.stderr
    tensors.write(start, {"ip1.weight": np.zeros((32, 100), np.float32)})
    wide = place.run("ps-run", "--check", job)
    assert wide.returncode == 64
    assert "tensor ip1.weight has the shape [32,100], where the net has [32,784]" in wide.stderr
    tensors.write(start, {"conv1.weight": np.zeros((32, 100), np.float32)})
    other = place.run("ps-run", job)
    assert other.returncode == 64 and "no tensor of the net's" in other.stderr
    assert not (place.folder / "runs").exists()


def test_the_resolved_job_runs_again_as_it_is(place):
    _, _, run = place.ps_run(place.job())
    again = place.run("ps-run", "--check", run / "job.yaml")
    assert again.returncode == 0, again.stderr


def test_a_run_folder_gives_its_summary_again(place):
    _, _, run = place.ps_run(place.job())
    as_json = place.run("ps-run", run, "--json")
    assert json.loads(as_json.stdout) == json.loads((run / "summary.json").read_text())
    as_text = place.run("ps-run", run)
    assert "small: done" in as_text.stdout and "model.safetensors" in as_text.stdout


def test_a_folder_that_is_no_run_is_refused(place):
    result = place.run("ps-run", place.folder)
    assert result.returncode == 64
    assert "is not a run folder" in result.stderr


def test_a_run_folder_that_is_in_use_is_not_written_to(place):
    (place.folder / "run").mkdir()
    (place.folder / "run" / "mine").write_text("precious")
    result, _, run = place.ps_run(place.job())
    assert result.returncode == 64
    assert [path.name for path in run.iterdir()] == ["mine"]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.name)
def test_every_config_is_a_job(place, path):
    result = place.run("ps-run", "--check", path)
    assert result.returncode == 0, result.stderr


def test_check_names_file_line_key_and_the_nearest_known_one(place):
    result = place.run("ps-run", "--check", place.job(sync="{mode: downpour, n_fech: 5}"))
    assert result.returncode == 64
    assert f"{place.folder}/job.yaml:4: sync.n_fech: unknown key; did you mean sync.n_fetch?" in result.stderr


def test_a_wrong_flag_is_usage(place):
    result = place.run("ps-run", place.job(), "--no-such-flag")
    assert result.returncode == 64 and "--no-such-flag" in result.stderr


def test_check_as_json(place):
    good = place.run("ps-run", "--check", "--json", place.job())
    answer = json.loads(good.stdout)
    assert (answer["job"]["workers"], answer["strong"], answer["peers"]) == (2, False, False)
    bad = place.run("ps-run", "--check", "--json", place.job(workers="0"))
    assert bad.returncode == 64 and "workers" in json.loads(bad.stdout)["error"]


def test_layers_that_do_not_fit_are_named(place):
    net = "net:\n- {name: c, type: convolution, outputs: 4, kernel: 99}\n- {name: loss, type: softmax_loss}\n"
    result = place.run("ps-run", "--check", place.job(net=net))
    assert result.returncode == 64 and "layer c" in result.stderr and "kernel 99" in result.stderr


GRAPH = """
net:
  - {name: conv1, type: convolution, outputs: 4, kernel: 3, pad: 1}
  - {name: conv2, type: convolution, outputs: 4, kernel: 3, pad: 1}
  - {name: sum, type: eltwise, inputs: [conv2, conv1]}
  - {name: both, type: concat, inputs: [data, sum]}
  - {name: relu, type: relu}
  - {name: pool, type: pooling, kernel: 4, stride: 4}
  - {name: ip, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
"""


def test_a_net_that_is_a_graph_trains(place):
    result, _, run = place.ps_run(place.job(net=GRAPH))
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((run / "summary.json").read_text())
    losses = [epoch["train"]["loss"] for epoch in summary["workers"][0]["epochs"]]
    assert summary["result"] == "done" and losses[1] < losses[0] < 2.3


def test_layers_that_wait_for_each_other_are_named(place):
    result = place.run("ps-run", "--check", place.job(net=GRAPH.replace("conv2, type: convolution",
                                                                        "conv2, inputs: [sum], type: convolution")))
    assert result.returncode == 64
    assert "layers take their inputs from each other in a circle: conv2, from sum, from conv2" in result.stderr


def test_what_is_set_beside_the_file_counts(place):
    (place.folder / "here").write_text("")
    result = place.run("ps-run", "--check", "--json", place.job(), "--set", "workers=3",
                       "--set", "optimizer={name: adam}", "--set", "data.test.images=here")
    job = json.loads(result.stdout)["job"]
    assert job["workers"] == 3
    assert job["optimizer"]["name"] == "adam" and "momentum" not in job["optimizer"]
    assert job["data"]["test"]["images"] == f"{place.folder}/here"
    wrong = place.run("ps-run", "--check", place.job(), "--set", "sync.n_pusch=10", "--set", "workers=none")
    assert wrong.returncode == 64
    assert "--set sync.n_pusch: unknown key; did you mean sync.n_push?" in wrong.stderr
    assert "--set workers: 'none' is not a whole number" in wrong.stderr


def test_a_run_keeps_what_was_set(place):
    result, events, run = place.ps_run(place.job(), "--set", "training.max_steps=7", "--set", "name=other")
    assert result.returncode == 0, result.stderr
    assert events[-1]["job"] == "other" and {worker["steps"] for worker in events[-1]["workers"]} == {7}
    again = json.loads(place.run("ps-run", "--check", "--json", run / "job.yaml").stdout)
    assert again["job"]["training"]["max_steps"] == "7"


def test_a_folder_of_data_stands_in_for_the_jobs(place):
    result = place.run("ps-run", "--check", "--json", place.job(data="{}"), "--data", FASHION)
    data = json.loads(result.stdout)["job"]["data"]
    assert data["train"]["labels"] == f"{FASHION}/train-labels-idx1-ubyte.gz"
    assert data["test"]["images"] == f"{FASHION}/t10k-images-idx3-ubyte.gz"
    (place.folder / "train-images-idx3-ubyte").write_text("x")
    wrong = place.run("ps-run", place.job(), "--data", place.folder)
    assert wrong.returncode == 64
    assert "has no train-labels-idx1-ubyte, no t10k-images-idx3-ubyte, no t10k-labels-idx1-ubyte" in wrong.stderr
    assert "no train-images" not in wrong.stderr


PARAMETER_BYTES = 4 * (32 * 784 + 32 + 10 * 32 + 16)  # each tensor begins at a multiple of 64 bytes


@pytest.mark.parametrize("evaluations", [1, 9])
def test_bytes_are_those_of_the_exchange_and_not_of_the_evaluations(place, evaluations):
    job = place.job(sync="{mode: bsp}", run="{evaluations: %d, progress_ms: 50}" % evaluations)
    result, events, _ = place.ps_run(job)
    assert result.returncode == 0, result.stdout + result.stderr
    summary = events[-1]
    steps = sum(worker["steps"] for worker in summary["workers"])
    assert summary["bytes_from_servers"] == steps * PARAMETER_BYTES
    # One or both workers offer initial values.
    assert summary["bytes_to_servers"] - steps * PARAMETER_BYTES in (PARAMETER_BYTES, 2 * PARAMETER_BYTES)
    measured = [event for event in events if event["event"] == "evaluation"]
    for key in ("seconds", "samples", "bytes_to_servers", "bytes_from_servers"):
        for kind in ("progress", "evaluation"):
            values = [event[key] for event in events if event["event"] == kind]
            assert values == sorted(values)
        assert measured[-1][key] == summary[key]
    assert 0 < summary["workers"][0]["seconds"] <= summary["seconds"]


def test_a_straggler_on_purpose(place):
    result, events, run = place.ps_run(place.job(sync="{mode: asp}"), "--slow-down", "1=20")
    assert result.returncode == 0, result.stderr
    assert {"event": "slow_down", "partition": 1, "factor": 20.0} in events
    assert "each training step takes 20 times as long" in (run / "logs" / "worker-1.log").read_text()
    assert "slow-down" not in (run / "logs" / "worker-0.log").read_text()
    quick, slow = (worker["seconds"] for worker in events[-1]["workers"])
    assert slow > 2 * quick


@pytest.mark.parametrize("text", ["1", "1=0.5", "x=3", "1=1000", "2=3"])
def test_a_straggler_that_cannot_be_is_refused(place, text):
    result = place.run("ps-run", place.job(), "--slow-down", text)
    assert result.returncode == 64
    assert text[0] in result.stderr + result.stdout and "slow-down" in result.stderr + result.stdout


def test_a_terminal_gets_one_live_line(place):
    controller, terminal = pty.openpty()
    # Long enough for more than one report.
    job = place.job(training="{batch: 64, epochs: 20}")
    process = place.start("ps-run", job, "--run-dir", place.folder / "run", stdout=terminal)
    os.close(terminal)
    seen = b""
    while True:
        try:
            piece = os.read(controller, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(controller)
    assert process.wait(60) == 0
    assert b"\r\x1b[Kepoch " in seen and b"images/s" in seen
    assert b"small: done" in seen


@pytest.mark.parametrize("mode", ["downpour", "asp", "bsp"])
def test_every_mode_runs(place, mode):
    result, events, _ = place.ps_run(place.job(sync="{mode: %s}" % mode))
    assert result.returncode == 0, result.stdout + result.stderr
    assert events[-1]["accuracy"] > 0.4


@pytest.mark.parametrize("moment", [0, 0.05, 0.2, 0.5, 1.5])
def test_an_interrupt_at_any_moment_leaves_nobody(place, moment):
    process = place.start("ps-run", place.job(training=LONG), "--run-dir", place.folder / "run")
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    # Before it can handle a signal it just dies of it.
    assert process.returncode in (130, -signal.SIGINT)
    assert not place.wait_until_quiet()


def test_an_interrupted_run_keeps_what_it_has(place):
    process = place.start("ps-run", place.job(training=LONG), "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    summary = json.loads((place.folder / "run" / "summary.json").read_text())
    assert summary["result"] == "stopped" and summary["samples"] > 0
    assert {worker["state"] for worker in summary["workers"]} <= {"left", "live"}


def test_a_killed_ps_run_takes_its_children_along(place):
    process = place.start("ps-run", place.job(training=LONG), "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    assert len(place.pids_of("ps-worker")) == 2
    process.kill()
    process.wait()
    assert not place.wait_until_quiet()


def test_a_worker_killed_in_the_middle_is_told_and_the_other_goes_on(place):
    job = place.job(training="{batch: 16, epochs: 150}", worker="{heartbeat_ms: 50, lease_ms: 1000}")
    process = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    victim = next(pid for pid, command in place.processes().items() if "--partition 1" in command)
    os.kill(victim, signal.SIGKILL)
    events = []
    summary = place.wait_for_event(process, "summary", events)
    assert process.wait(30) == 1
    problems = [event["sentence"] for event in events if event["event"] == "problem"]
    assert any("worker 1 ended (killed by signal 9" in problem for problem in problems)
    assert summary["result"] == "incomplete"
    assert summary["workers"][0]["state"] == "finished"
    assert summary["workers"][0]["samples"] == 150 * 2000
    assert summary["accuracy"] > 0.4
    assert not place.wait_until_quiet()


def test_bsp_goes_on_without_a_killed_worker(place):
    job = place.job(training="{batch: 16, epochs: 80}", sync="{mode: bsp}",
                    worker="{heartbeat_ms: 50, lease_ms: 1000}")
    process = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    victim = next(pid for pid, command in place.processes().items() if "--partition 1" in command)
    os.kill(victim, signal.SIGKILL)
    summary = place.wait_for_event(process, "summary")
    assert process.wait(30) == 1
    assert summary["workers"][0]["samples"] == 80 * 2000
    assert summary["workers"][1]["state"] == "lost"


def test_a_worker_that_is_stopped_is_told_and_killed_and_the_others_end_the_run(place):
    job = place.job(training="{batch: 16, epochs: 20}", sync="{mode: bsp}", worker="{heartbeat_ms: 50, lease_ms: 1000}")
    process = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    stopped = next(pid for pid, command in place.processes().items() if "--partition 1" in command)
    os.kill(stopped, signal.SIGSTOP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    summary = json.loads((place.folder / "run" / "summary.json").read_text())
    assert summary["result"] == "incomplete"
    assert [worker["state"] for worker in summary["workers"]] == ["finished", "lost"]
    assert any("worker 1 (pid %d) was silent for" % stopped in problem for problem in summary["problems"])
    assert not place.wait_until_quiet()


def test_a_killed_server_ends_the_run_and_is_named(place):
    process = place.start("ps-run", place.job(training=LONG), "--json", "--run-dir", place.folder / "run")
    place.wait_for_event(process, "progress")
    victim = next(pid for pid, command in place.processes().items() if "--index 1" in command)
    os.kill(victim, signal.SIGKILL)
    summary = place.wait_for_event(process, "summary")
    assert process.wait(30) == 1
    assert any("ps-server-1 ended (killed by signal 9" in problem for problem in summary["problems"])
    assert not place.wait_until_quiet()


def test_gradients_that_explode_are_refused_counted_and_named(place):
    # No local step: with one the loss would be spoilt before the first push.
    job = place.job(optimizer="{name: sgd, learning_rate: 1.0e+30}", worker="{max_bad_gradients: 3}",
                    sync="{mode: asp, wait: true}")
    result, events, _ = place.ps_run(job)
    assert result.returncode == 1
    summary = events[-1]
    assert any("gradients in a row were not finite, the last in ip" in problem for problem in summary["problems"])
    assert any(worker["bad_gradients"] == 3 for worker in summary["workers"])
    logs = "".join(path.read_text() for path in (place.folder / "run" / "logs").glob("worker-*"))
    assert "the gradient is not finite in ip" in logs


def test_a_job_none_of_whose_steps_had_a_finite_gradient_fails_and_says_why(place):
    layers = ["{name: flat, type: reshape, shape: [784]}", "{name: e, type: embedding, vocabulary: 10, outputs: 2}",
              "{name: ip, type: inner_product, outputs: 10}", "{name: loss, type: softmax_loss}"]
    job = place.job(net="net: [%s]\n" % ", ".join(layers), training="{batch: 8, max_steps: 5}")
    result, events, _ = place.ps_run(job)
    assert result.returncode == 1
    summary = events[-1]
    assert summary["result"] == "failed"
    assert summary["training_loss"] is None
    assert any("an embedding takes whole numbers" in problem for problem in summary["problems"])


def test_more_than_one_run_in_a_second_have_folders_of_their_own(place):
    job = place.job(run="{dir: %s/runs, evaluations: 0}" % place.folder, training="{batch: 64, max_steps: 5}")
    results = [place.start("ps-run", job) for _ in range(2)]
    for process in results:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(list((place.folder / "runs").iterdir())) == 2


def test_a_full_disk_is_said_and_is_no_success(place):
    disk = place.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60k", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs to mount a small file system: " + mounted.stderr.decode())
    try:
        result = place.run("ps-run", place.job(), "--run-dir", disk / "run")
        assert result.returncode == 1
        assert "can't write the model" in result.stdout and "No space left" in result.stdout
        assert not list((disk / "run").glob("*.part"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_whoever_does_not_read_ps_run_can_still_stop_it(place):
    read_end, write_end = os.pipe()
    job = place.job(training=LONG, run="{progress_ms: 50, evaluations: 0}")
    process = place.start("ps-run", job, "--json", "--run-dir", place.folder / "run", stdout=write_end)
    os.close(write_end)
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    os.close(read_end)
    assert not place.wait_until_quiet()
