"""What travels encoded: whole jobs, by their figures."""

import json
import re
import signal
import subprocess

import numpy as np
import pytest

from tests.e2e.harness import FASHION, LONG, metrics, total
from tests.e2e.idx import write_idx

NET = """net:
  - {name: ip1, type: inner_product, outputs: 200}
  - {name: relu, type: relu}
  - {name: ip2, type: inner_product, outputs: 10}
  - {name: loss, type: softmax_loss}
"""
DATA = (f"{{train: {{images: {FASHION}/train-images-idx3-ubyte.gz, labels: {FASHION}/train-labels-idx1-ubyte.gz}}, "
        f"test: {{images: {FASHION}/t10k-images-idx3-ubyte.gz, labels: {FASHION}/t10k-labels-idx1-ubyte.gz}}, limit: 12000}}")


def trained(place, folder, **job):
    job = {"workers": "2", "net": NET, "data": DATA, "sync": "{mode: bsp}",
           "optimizer": "{name: momentum, learning_rate: 0.02, momentum: 0.9}", "training": "{batch: 64, epochs: 8}",
           "run": "{evaluations: 1}", **job}
    done = place.run("ps-run", place.job(**job), "--json", "--run-dir", place.folder / folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads((place.folder / folder / "summary.json").read_text())


def test_fewer_bytes_and_the_same_accuracy(place):
    raw = trained(place, "raw")
    for name, wire, pushed, fetched in (
            ("int8", "{push: {codec: int8}, pull: {codec: int8}}", 0.27, 0.29),
            ("top_k", "{push: {codec: top_k, share: 0.1}, pull: {codec: top_k, share: 0.2}}", 0.17, 0.32),
            ("bf16", "{push: {codec: bf16}, pull: {codec: bf16}}", 0.51, 0.51)):
        coded = trained(place, name, wire=wire)
        assert coded["result"] == "done" and coded["refused"] == {}
        assert coded["bytes_to_servers"] < pushed * raw["bytes_to_servers"], name
        assert coded["bytes_from_servers"] < fetched * raw["bytes_from_servers"], name
        assert coded["accuracy"] > raw["accuracy"] - 0.03, name


def test_an_embedding_pushes_the_rows_that_it_took_and_the_bits_are_the_same(place):
    random = np.random.default_rng(1)
    words = random.integers(0, 250, (4000, 10, 1), dtype=np.uint8)
    for name, rows in ("train", slice(0, 3600)), ("test", slice(3600, None)):
        write_idx(place.folder / f"{name}-words", words[rows])
        write_idx(place.folder / f"{name}-labels", words[rows, 0, 0] // 50)
    job = {
        "net": "net:\n  - {name: flat, type: reshape, shape: [10]}\n  - {name: words, type: embedding, vocabulary: 250, outputs: 64}\n"
               "  - {name: ip, type: inner_product, outputs: 5}\n  - {name: loss, type: softmax_loss}\n",
        "data": "{shape: [1, 10, 1], scale: 1, train: {images: train-words, labels: train-labels}, "
                "test: {images: test-words, labels: test-labels}}",
        "training": "{batch: 8, epochs: 4}",
    }
    alone = {"workers": "1", "sync": "{mode: downpour, n_push: 1, n_fetch: 1, wait: true}"}
    for name, how in (("one", {"optimizer": "{name: adagrad, learning_rate: 0.1}", **alone}),
                      ("two", {"optimizer": "{name: momentum, learning_rate: 0.1}", "sync": "{mode: bsp}"})):
        raw = trained(place, "raw" + name, **job, **how)
        sparse = trained(place, "sparse" + name, wire="{push: {codec: sparse}}", **job, **how)
        assert raw["accuracy"] > 0.9
        models = [(place.folder / (way + name) / "model.safetensors").read_bytes() for way in ("raw", "sparse")]
        assert models[0] == models[1]
        # 8 x 10 of 250 rows at most, and all of the other layer's 3,200.
        assert sparse["bytes_to_servers"] < 0.5 * raw["bytes_to_servers"]


def test_a_bound_on_bandwidth_is_kept(place):
    job = {"sync": "{mode: downpour}", "optimizer": "{name: sgd, learning_rate: 0.05}"}
    free = trained(place, "free", **job)
    bound = trained(place, "bound", **job, wire="{push: {max_bandwidth_mbps: 4}}")
    # First values, which each of two workers may send; then what the bound allows, and a second's worth that had piled up.
    parameters = 4 * (784 * 200 + 200 + 200 * 10 + 10)
    allowed = 2 * parameters + 2 * (bound["seconds"] + 1) * 4e6 / 8
    assert bound["bytes_to_servers"] < 1.15 * allowed + 100_000
    assert bound["bytes_to_servers"] < free["bytes_to_servers"] / 2
    assert bound["accuracy"] > 0.7


COMBINED = {"workers": "3", "optimizer": "{name: sgd, learning_rate: 0.03}"}


@pytest.mark.parametrize("sync, push, part_bytes", [
    ("{mode: asp}", "{codec: raw}", 4194304), ("{mode: bsp}", "{codec: raw}", 32768), ("{mode: bsp}", "{codec: one_bit}", 4194304),
    ("{mode: downpour, n_push: 2, n_fetch: 2}", "{codec: top_k, share: 0.1}", 32768), ("{mode: ssp, s: 2}", "{codec: bf16}", 4194304),
])
def test_workers_of_one_host_push_together(place, sync, push, part_bytes):
    """Each push counts once, whoever has pushed for whom: as many parts are applied as without."""
    servers = f"{{addresses: ['127.0.0.1:0', '127.0.0.1:0'], shards: 2, part_bytes: {part_bytes}}}"
    alone = trained(place, "alone", sync=sync, servers=servers, wire=f"{{push: {push}}}", **COMBINED)
    summary = trained(place, "together", sync=sync, servers=servers, wire=f"{{combine: host, push: {push}}}", **COMBINED)
    assert summary["result"] == "done"
    assert summary["part_pushes"] == alone["part_pushes"]
    assert summary["combined_part_pushes"] > 0 and alone["combined_part_pushes"] == 0
    assert set(summary["refused"]) <= {"duplicate", "alone", "lease_ended"}
    assert summary["accuracy"] > 0.75


def test_one_clock_of_a_host_is_one_push(place):
    alone = trained(place, "alone", **COMBINED)
    together = trained(place, "together", wire="{combine: host}", **COMBINED)
    assert together["part_pushes"] == alone["part_pushes"]
    assert together["combined_part_pushes"] > 0.8 * together["part_pushes"]
    # Besides the first values, three pushes have become one or two.
    assert together["bytes_to_servers"] < 0.67 * alone["bytes_to_servers"]
    assert abs(together["accuracy"] - alone["accuracy"]) < 0.03


def test_what_was_pushed_together_can_be_replayed(place):
    run = place.folder / "run"
    # In asp what is combined is what meets by chance, and on a busy machine nothing may; in rounds workers wait for one another.
    job = place.job(workers="3", wire="{combine: host}", sync="{mode: bsp}")
    done = place.run("ps-run", job, "--record", "--run-dir", run)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["combined_part_pushes"] > 0
    replayed = place.run("ps-replay", run, "--json")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    verdict = json.loads(replayed.stdout.splitlines()[-1])
    pushes = sum(count for part in verdict["parts"] for count in part["pushes"].values())
    assert pushes == summary["part_pushes"]


@pytest.mark.parametrize("mode", ["asp", "bsp"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_one_that_pushes_for_all_is_gone(place, mode, how):
    """The job is started by hand, so that another attempt takes up its partition."""
    job = place.job(workers="3", sync=f"{{mode: {mode}}}", wire="{combine: host}", training=LONG, net=NET,
                    worker="{heartbeat_ms: 50, lease_ms: 1000}", servers="{addresses: ['127.0.0.1:0'], shards: 2}")
    _, listening = place.serve(job)

    def worker(partition, attempt=0):
        log = open(place.folder / f"worker-{partition}.{attempt}.log", "w")
        return place.start("ps-worker", "--config", job, "--servers", listening["address"], "--partition", partition,
                           "--task-attempt", attempt, stdout=subprocess.DEVNULL, stderr=log)

    def said(partition, sentence, attempt=0):
        log = place.folder / f"worker-{partition}.{attempt}.log"
        return log.exists() and sentence in log.read_text()

    def pushes():
        return total([metrics(listening["metrics"])], "downpour_combined_pushes_total")

    first = worker(0)
    place.wait_until(lambda: said(0, "pushes for the workers"), 30)
    workers = [worker(1), worker(2)]
    place.wait_until(lambda: said(1, "hands its gradients") and said(2, "hands its gradients") and pushes() > 0, 30)
    first.send_signal(how)
    again = worker(0, 1)
    # Whoever comes first, the new attempt too.
    place.wait_until(lambda: any(said(*who) for who in ((1, "pushes for the workers"), (2, "pushes for the workers"),
                                                        (0, "pushes for the workers", 1))), 30)
    before = pushes()
    place.wait_until(lambda: pushes() > before + 20, 30)
    assert again.poll() is None and all(other.poll() is None for other in workers)
    first.kill()


@pytest.mark.parametrize("wire, sync, sentence", [
    ("{combine: host}", "{mode: local_sgd}", "exchanges something else"),
    ("{combine: host}", "{mode: peer}", "each worker is a server"),
    ("{combine: host}", "{mode: asp, delay_compensation: 0.1}", "has read whose gradient it is"),
    ("{combine: host, adapt: true}", "{mode: asp}", "each worker has its own way of pushing"),
    ("{combine: host, push: {max_bandwidth_mbps: 5}}", "{mode: asp}", "what each worker pushes by itself"),
    ("{combine: rack}", "{mode: asp}", "is none of none, host"),
    ("{adapt: true}", "{mode: bsp}", "in sync.mode bsp workers wait for one another"),
    ("{push: {max_bandwidth_mbps: 5}}", "{mode: local_sgd}", "sync.mode local_sgd averages them"),
    ("{push: {codec: int8, feedback: false, max_bandwidth_mbps: 5}}", "{mode: asp}", "has to be carried"),
    ("{pull: {codec: power_sgd}}", "{mode: asp}", "is none of raw, bf16"),
    ("{push: {codec: gzip}}", "{mode: asp}", "is none of raw, bf16"),
    ("{codec: int8}", "{mode: asp}", "unknown key"),
])
def test_what_makes_no_sense_is_said_before_anything_starts(place, wire, sync, sentence):
    done = place.run("ps-run", place.job(wire=wire, sync=sync), "--check")
    assert done.returncode == 64
    assert re.search(re.escape(sentence), done.stdout + done.stderr), done.stdout + done.stderr
