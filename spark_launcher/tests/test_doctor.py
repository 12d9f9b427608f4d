"""The doctor's checks as truth tables, its report, and a whole examination of a local Spark."""
import json
import os
import stat

import pytest

from downpour.doctor import Report, checks, examine
from downpour.doctor.__main__ import main
from downpour.doctor.checks import State, Verdict, most_at_once
from downpour.doctor.facts import Driver, Probe, Wanted
from downpour.doctor.listener import listening
from downpour.doctor.probe import _reach
from downpour.programs import WRONG_CPU, why_not_running

GOOD, WARNING, FAILS, UNKNOWN = State.GOOD, State.WARNING, State.FAILS, State.UNKNOWN
GIB = 1 << 30
YARN = {"spark.master": "yarn", "spark.executor.memory": "4g"}
PROBE = Probe("n1", 1, 10.0, 12.0, "1.0", "", {"d:1": ""}, 0.001, (), 2, "/tmp", 100 * GIB)


def driver(**changes):
    return Driver(**{**dict(version="1.0", master="spark://m:1", slots=4, before=9.0, after=13.0), **changes})


@pytest.mark.parametrize("wanted, seen, state", [
    (Wanted(4, strong=True), {}, GOOD),
    (Wanted(5, strong=True), {}, FAILS),
    (Wanted(5), {}, WARNING),
    (Wanted(3), {"slots": 0}, FAILS),
    (Wanted(2, strong=True, servers="tasks", server_count=2), {}, GOOD),
    (Wanted(3, strong=True, servers="tasks", server_count=2), {}, FAILS),
    (Wanted(3, servers="tasks", server_count=2), {}, WARNING),
    (Wanted(3, servers="tasks", server_count=4), {}, FAILS),
    (Wanted(2, strong=True), {"conf": {"spark.dynamicAllocation.enabled": "true"}}, FAILS),
    (Wanted(2, servers="tasks"), {"conf": {"spark.dynamicAllocation.enabled": "true"}}, FAILS),
    (Wanted(2), {"conf": {"spark.dynamicAllocation.enabled": "true"}}, GOOD),
    (Wanted(1, strong=True), {"slots": None}, GOOD),
    (Wanted(2, strong=True), {"slots": None}, FAILS)])
def test_slots(wanted, seen, state):
    verdict, = checks.slots(wanted, driver(**seen), [PROBE])
    assert verdict.state is state and bool(verdict.advice) == (state is not GOOD)


@pytest.mark.parametrize("check, wanted, seen, probe, state, found", [
    (checks.package, {}, {}, {}, GOOD, "downpour 1.0"),
    (checks.package, {}, {}, {"version": None}, FAILS, "no package"),
    (checks.package, {}, {}, {"version": "0.9"}, FAILS, "downpour 0.9, and 1.0 on the driver"),
    (checks.program, {}, {}, {}, GOOD, "runs"),
    (checks.program, {}, {}, {"program": "it was killed"}, FAILS, "it was killed"),
    (checks.program, {}, {}, {"program": None}, UNKNOWN, "not tried"),
    (checks.ports, {}, {}, {}, GOOD, "reaches d:1"),
    (checks.ports, {}, {}, {"ports": {"d:1": "timed out"}}, FAILS, "d:1: timed out"),
    (checks.ports, {"servers": "running"}, {}, {"ports": {"d:1": "", "e:2": "refused"}}, FAILS, "e:2: refused"),
    (checks.ports, {}, {"unopened": {"d:1": "in use"}}, {}, FAILS, "d:1: in use"),
    (checks.ports, {"servers": "tasks"}, {}, {}, UNKNOWN, "once their tasks run"),
    (checks.memory, {}, {}, {}, GOOD, "no setting bounds"),
    (checks.memory, {}, {"conf": YARN}, {}, GOOD, "up to 179 MiB of 410 MiB"),
    (checks.memory, {"workers": 8}, {"conf": {**YARN, "spark.executor.cores": "2"}}, {}, WARNING, "up to 64 MiB"),
    (checks.clock, {}, {}, {}, GOOD, "0.001 s ahead"),
    (checks.clock, {}, {}, {"ahead": -7.5}, WARNING, "7.500 s behind"),
    (checks.clock, {}, {}, {"ahead": None}, GOOD, "within the 4.0 s"),
    (checks.clock, {}, {}, {"ahead": None, "began": 1.0, "ended": 3.0}, WARNING, "off by 8.0 s or more"),
    (checks.clock, {}, {}, {"ahead": None, "began": 21.0, "ended": 23.0}, WARNING, "off by 10.0 s or more"),
    (checks.gpu, {}, {}, {}, GOOD, "computes on cpu"),
    (checks.gpu, {"device": "cuda"}, {"conf": {"spark.task.resource.gpu.amount": "1"}}, {"gpus": ("0",)}, GOOD, "GPU 0"),
    (checks.gpu, {"device": "cuda"}, {"conf": {"spark.task.resource.gpu.amount": "1"}}, {}, FAILS, "without a GPU"),
    (checks.gpu, {"device": "cuda"}, {"conf": {"spark.app.name": "x"}}, {}, FAILS, "assigns no GPU"),
    (checks.space, {}, {}, {}, GOOD, "100 GiB free in /tmp"),
    (checks.space, {}, {}, {"free_bytes": GIB}, WARNING, "1 GiB free"),
    (checks.space, {}, {}, {"free_bytes": 1000}, FAILS, "1e+03 bytes free")])
def test_a_check(check, wanted, seen, probe, state, found):
    verdict = check(Wanted(**wanted), driver(**seen), [PROBE._replace(**probe)])[0]
    assert verdict.state is state and found in verdict.found
    assert bool(verdict.advice) or state in (GOOD, UNKNOWN)


def test_each_host_has_the_worst_that_was_found_there():
    probes = [PROBE, PROBE._replace(process=2, version=None), PROBE._replace(host="n2")]
    assert [(one.where, one.state) for one in checks.package(Wanted(), driver(), probes)] == [("n1", FAILS), ("n2", GOOD)]


def test_most_at_once():
    spans = [(0, 2), (1, 3), (2, 4), (5, 6)]
    assert most_at_once([PROBE._replace(began=began, ended=ended) for began, ended in spans]) == 2
    assert most_at_once([]) == 0


def test_a_report():
    lines = [Verdict("slots", "driver", GOOD, "4 slots"), Verdict("package", "node3", FAILS, "none", "install it")]
    assert str(Report(lines)).splitlines() == [
        "slots    driver  ok     4 slots", "package  node3   FAILS  none", " " * 24 + "-> install it"]
    assert (Report(lines).status, Report(lines[:1]).status) == (1, 0)
    assert json.loads(Report(lines).to_json())["checks"][1] == {
        "check": "package", "where": "node3", "state": "fails", "found": "none", "advice": "install it"}


def program(folder, text):
    path = folder / "program"
    path.write_bytes(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("text, said", [
    (b"#!/bin/sh\nexit 0\n", ""),
    (b"#!/bin/sh\nkill -ILL $$\n", WRONG_CPU),
    (b"#!/bin/sh\nkill -SEGV $$\n", "was killed by signal 11"),
    (b"#!/bin/sh\necho \"libx.so: version 'GLIBC_2.99' not found\" >&2\nexit 1\n", "library is older than"),
    (b"#!/bin/sh\necho 'error while loading shared libraries: libx.so' >&2\nexit 127\n", "is not installed on this host"),
    (b"\x7fELF of another machine", "is not a program for this machine")])
def test_why_a_program_does_not_run(tmp_path, text, said):
    why = why_not_running(program(tmp_path, text))
    assert said in why and bool(why) == bool(said)


def test_who_listens_tells_the_time():
    with listening(["127.0.0.1:0", "localhost:0", "127.0.0.1:0:1", "203.0.113.1:0"]) as (open_at, unopened):
        assert len(open_at) == 2 and set(unopened) == {"127.0.0.1:0:1", "203.0.113.1:0"}
        for address in open_at:
            why, ahead = _reach(address, True)
            assert why == "" and abs(ahead) < 5
        with listening([address]) as (_, taken):
            assert "in use" in taken[address]
    assert "refused" in _reach(address, True)[0]


@pytest.mark.parametrize("flags, said", [
    (["--remote", "sc://127.0.0.1:1"], "nobody answers at sc://127.0.0.1:1: "),
    (["--master", "spark://[::1]:1"], "nobody answers at spark://[::1]:1: "),
    (["--master", "local[2]", "--job", "/no/such/job.yaml"], "/no/such/job.yaml")])
def test_what_is_wrong_before_there_is_a_spark_is_said_at_once(flags, said, capsys):
    assert main(flags) == 2
    assert said in capsys.readouterr().err


def test_a_local_spark(spark, tmp_path):
    report = examine(spark)
    assert report.status == 0 and [one.check for one in report.verdicts] == [
        "slots", "package", "program", "ports", "memory", "clock", "GPU", "space"]
    job = tmp_path / "job.yaml"
    job.write_text("{name: x, data: {shape: [4]}, net: [{name: a, type: inner_product, outputs: 2}, {name: l, type:"
                   " softmax_loss}], servers: {addresses: ['127.0.0.1:0', '203.0.113.1:7100']}, sync: {mode: bsp}}")
    report = examine(spark, str(job), workers=3, worker_program=os.devnull, wait_s=0)
    failing = {one.check: one.found for one in report.verdicts if one.state is FAILS}
    assert report.status == 1 and set(failing) == {"slots", "program", "ports"}
    assert failing["slots"] == "2 slots for 3 workers; 3 must run at the same time"
