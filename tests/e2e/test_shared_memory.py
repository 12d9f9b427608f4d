"""Workers and servers that share memory: the same outcome, nothing left behind, and what happens where they can't."""

import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile

import pytest

from tests.e2e.harness import BINARIES, LONG, metrics, total

NAME = re.compile(r"memfd:(downpour-[0-9a-f]{32})")


def regions(pids=None):
    """Names of the regions that processes have mapped or open, all of them by default."""
    found = set()
    for entry in pathlib.Path("/proc").iterdir() if pids is None else [pathlib.Path("/proc", str(pid)) for pid in pids]:
        if not entry.name.isdigit():
            continue
        try:
            found.update(NAME.findall((entry / "maps").read_text()))
            for link in (entry / "fd").iterdir():
                found.update(NAME.findall(str(link.readlink())))
        except OSError:
            continue
    return found


def one_server(**changes):
    return {"servers": "{addresses: ['127.0.0.1:0']}", "workers": "1", **changes}


def trained(place, listening, job, **options):
    """Runs a worker to its end; what its server's metrics say of shared memory then, and both logs."""
    worker = place.start("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0, **options)
    _, said = worker.communicate(timeout=120)
    assert worker.returncode == 0, said
    page = metrics(listening["metrics"])
    return {way: total([page], f"downpour_shared_memory_{way}_bytes_total") for way in ("received", "sent")}, said


def test_shared_memory_changes_no_bit(place):
    models = []
    for choice in ("auto", "off"):
        job = place.job(sync="{mode: bsp}", worker="{heartbeat_ms: 50, shared_memory: '%s'}" % choice)
        result, _, run = place.ps_run(job)
        assert result.returncode == 0, result.stderr
        models.append((run / "model.safetensors").read_bytes())
        log = (run / "logs" / "server-0.log").read_text()
        assert ("bytes of shared memory of process" in log) == (choice == "auto")
        assert ("has mapped" in (run / "logs" / "worker-0.log").read_text()) == (choice == "auto")
        run.rename(place.folder / choice)
    assert models[0] == models[1]


def test_gradients_and_parameters_go_through_it(place):
    job = place.job(**one_server())
    server, listening = place.serve(job)
    through, said = trained(place, listening, job)
    page = metrics(listening["metrics"])
    assert through["received"] > 0.9 * total([page], "downpour_received_bytes_total")
    assert through["sent"] > 0.9 * total([page], "downpour_sent_bytes_total")
    assert f"server 0 at {listening['address']} has mapped" in said
    assert total([page], "downpour_shared_memory_streams") == 0
    assert not regions([server.pid])


def test_a_killed_worker_leaves_no_region_and_the_others_go_on(place):
    job = place.job(training=LONG, worker="{heartbeat_ms: 50, lease_ms: 500}")
    servers = [place.serve(job, index) for index in range(2)]
    addresses = ",".join(listening["address"] for _, listening in servers)
    workers = [place.start("ps-worker", "--config", job, "--servers", addresses, "--partition", i, "--task-attempt", 0)
               for i in range(2)]
    for worker in workers:
        place.wait_for_event(worker, "progress")
    killed = regions([workers[0].pid])
    assert len(killed) == 1
    assert killed <= regions([server.pid for server, _ in servers])
    workers[0].kill()
    workers[0].wait()
    place.wait_until(lambda: not killed & regions())
    assert regions([workers[1].pid]) == regions([server.pid for server, _ in servers])
    steps = place.wait_for_event(workers[1], "progress")["step"]
    place.wait_until(lambda: place.wait_for_event(workers[1], "progress")["step"] > steps)

    again = place.start("ps-worker", "--config", job, "--servers", addresses, "--partition", 0, "--task-attempt", 1)
    place.wait_for_event(again, "progress")
    assert len(regions([server.pid for server, _ in servers])) == 2


def test_a_killed_server_leaves_no_region(place):
    job = place.job(**one_server(training=LONG))
    server, listening = place.serve(job)
    worker = place.start("ps-worker", "--config", job, "--servers", listening["address"], "--partition", 0)
    place.wait_for_event(worker, "progress")
    shared = regions([server.pid])
    assert len(shared) == 1 and shared == regions([worker.pid])
    server.kill()
    server.wait()
    assert worker.wait(30) == 69
    assert not shared & regions()


def without_large_files():
    # Room for the log, not for a region.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def test_a_worker_that_gets_no_memory_to_share_goes_on_without(place):
    job = place.job(**one_server())
    _, listening = place.serve(job)
    through, said = trained(place, listening, job, preexec_fn=without_large_files)
    assert through == {"received": 0, "sent": 0}
    assert "no shared memory with servers on this host: this process may have files of 300000 bytes" in said


def test_a_worker_whose_processes_the_server_does_not_see_goes_on_without(place):
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True).returncode != 0:
        pytest.skip("no process namespaces here")
    job = place.job(**one_server())
    _, listening = place.serve(job, 0, "--log-file", place.folder / "server.log")
    worker = subprocess.run([*apart, BINARIES / "ps-worker", "--config", job, "--servers", listening["address"],
                             "--partition", "0"], capture_output=True, text=True, timeout=120, cwd=place.folder)
    assert worker.returncode == 0, worker.stderr
    assert json.loads(worker.stdout.splitlines()[-1])["event"] == "done"
    assert "no shared memory with server 0" in worker.stderr
    assert "is not the region that was offered, seen from here" in worker.stderr
    assert "exchanges through its socket; no shared memory" in (place.folder / "server.log").read_text()
    assert total([metrics(listening["metrics"])], "downpour_shared_memory_received_bytes_total") == 0


def test_a_worker_of_another_user_goes_on_without(place):
    somebody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        job = shutil.copy(place.job(**one_server()), folder)
        readable = subprocess.run([*somebody, BINARIES / "ps-worker", "--version"], capture_output=True)
        if readable.returncode != 0:
            pytest.skip("no other user here, or one that may not run the programs")
        _, listening = place.serve(job)
        worker = subprocess.run([*somebody, BINARIES / "ps-worker", "--config", job, "--servers", listening["address"],
                                 "--partition", "0"], capture_output=True, text=True, timeout=120, cwd=folder)
    assert worker.returncode == 0, worker.stderr
    assert "no shared memory with server 0" in worker.stderr
