"""The doctor's checks: pure functions from what was seen to what it means and what to do."""
from __future__ import annotations

import enum
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from ..memory import MIB, executor_memory
from .facts import Driver, Probe, Wanted

_LEAST_FREE = 256 * MIB    # of temporary space: job file, logs
_LITTLE_FREE = 2048 * MIB
_CLOCK_S = 5.0             # beyond this, logs of two hosts can no longer be read side by side
_LITTLE_MEMORY = 128 * MIB


class State(enum.Enum):
    GOOD = "good"
    WARNING = "warning"
    FAILS = "fails"
    UNKNOWN = "not seen"


class Verdict(NamedTuple):
    """One line of the report. advice: what to do; "" where there is nothing."""
    check: str
    where: str
    state: State
    found: str
    advice: str = ""


def examine(wanted: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """All checks, in the order in which one would mend what they find."""
    return [verdict for check in CHECKS for verdict in check(wanted, driver, probes)]


def slots(wanted: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """Whether all tasks that must run at once can."""
    what = _count(wanted.workers, "worker")
    if wanted.servers == "tasks":
        what += " and " + _count(wanted.server_count, "server")
    all_at_once = wanted.strong or wanted.servers == "tasks"
    if all_at_once and driver.conf.get("spark.dynamicAllocation.enabled", "false").lower() == "true":
        return [Verdict("slots", "driver", State.FAILS, "dynamic allocation, which barrier stages refuse",
                        "spark.dynamicAllocation.enabled=false, or a weak sync.mode with servers that are no tasks")]
    fit = driver.slots if driver.slots is not None else most_at_once(probes)
    room = "%d slots" % fit if driver.slots is not None else "%d tasks ran at the same time" % fit
    if fit >= wanted.all_tasks:
        return [Verdict("slots", "driver", State.GOOD, "%s for %s" % (room, what))]
    if fit >= wanted.tasks:
        return [Verdict("slots", "driver", State.WARNING, "%s for %s, which run in waves" % (room, what),
                        "more cores, or fewer workers, would let all run at once")]
    more = "a greater N in local[N]" if driver.master.startswith("local[") else (
        "more executors or cores (spark.executor.instances, spark.cores.max, fewer spark.task.cpus)")
    return [Verdict("slots", "driver", State.FAILS, "%s for %s; %d must run at the same time" % (room, what, wanted.tasks),
                    more + ", or fewer workers" + (" or servers.addresses" if wanted.servers == "tasks" else ""))]


def package(_: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """Whether the executors' Python has this package, of this version."""
    def judge(probe):
        if probe.version is None:
            return State.FAILS, "no package downpour", \
                "install the wheel there, or point spark.pyspark.python to a Python that has it"
        if probe.version != driver.version:
            return State.FAILS, "downpour %s, and %s on the driver" % (probe.version, driver.version), \
                "install the same wheel on both"
        return State.GOOD, "downpour %s" % probe.version, ""
    return _by_host("package", probes, judge)


def program(_: Wanted, __: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """Whether ps-worker runs on the executors."""
    def judge(probe):
        if probe.program is None:
            return State.UNKNOWN, "ps-worker was not tried without this version's package", ""
        if probe.program:
            return State.FAILS, probe.program, \
                "tools/debian-packages.txt lists what it needs; on another system build the wheel there"
        return State.GOOD, "ps-worker runs", ""
    return _by_host("program", probes, judge)


def ports(wanted: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """Whether each executor reaches each server; or the driver, where servers are tasks that report to it."""
    verdicts = [Verdict("ports", "driver", State.FAILS, "%s: %s" % (address, why), "choose another port, 0 for a free one, or"
                        " a host that is this one's, in servers.addresses") for address, why in driver.unopened.items()]
    if wanted.servers == "tasks":
        verdicts.append(Verdict("ports", "driver", State.UNKNOWN, "the servers' own, which are known once their tasks run"))
    if wanted.peers:
        verdicts.append(Verdict("ports", "driver", State.UNKNOWN, "whether workers reach one another, on free ports"))
    if wanted.servers == "running":
        advice = "start ps-server there, on an address that is not loopback, and let executors through"
    else:
        advice = "let executors through to this port of the driver's host (fixed ports: servers.addresses)"

    def judge(probe):
        lost = ["%s: %s" % (address, why) for address, why in probe.ports.items() if why]
        if lost:
            return State.FAILS, "; ".join(lost), advice
        return (State.GOOD, "reaches " + ", ".join(probe.ports), "") if probe.ports else (
            State.UNKNOWN, "nothing to reach", "")
    return verdicts + _by_host("ports", probes, judge)


def memory(wanted: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """What a worker may take of an executor's memory, and whether that is much; the rows beyond it go to disk."""
    bounds = executor_memory(driver.conf.get)
    if bounds is None:
        return [Verdict("memory", "driver", State.GOOD, "no setting bounds what a worker takes beside Spark")]

    def judge(probe):
        share = bounds.share(wanted.all_tasks, probe.cpus)
        found = "a worker takes up to %s of %s memoryOverhead" % (_size(share), _size(bounds.overhead))
        if share >= _LITTLE_MEMORY:
            return State.GOOD, found, ""
        return State.WARNING, found, "raise spark.executor.memoryOverhead, or most rows are read from disk each epoch"
    return _by_host("memory", probes, judge)


def clock(_: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """By how much an executor's clock differs from the driver's; only reading logs needs it."""
    def judge(probe):
        if probe.ahead is None:  # no less than this, or a task began before it was sent
            off = max(driver.before - probe.began, probe.ended - driver.after, 0.0)
            window = driver.after - driver.before
            found = "off by %.1f s or more" % off if off else "within the %.1f s of the probe" % window
        else:
            off = abs(probe.ahead)
            found = "%.3f s %s" % (off, "ahead" if probe.ahead > 0 else "behind")
        if off > _CLOCK_S:
            return State.WARNING, found, "let NTP set it: logs of different hosts cannot be compared"
        return State.GOOD, found, ""
    return _by_host("clock", probes, judge)


def gpu(wanted: Wanted, driver: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """Whether each task is assigned a GPU, where the job computes on one."""
    if wanted.device != "cuda":
        return [Verdict("GPU", "driver", State.GOOD, "the job computes on %s" % wanted.device)]
    advice = "spark.executor.resource.gpu.amount, its discoveryScript and spark.task.resource.gpu.amount"
    if float(driver.conf.get("spark.task.resource.gpu.amount", "0")) <= 0 and driver.conf:
        return [Verdict("GPU", "driver", State.FAILS, "Spark assigns no GPU to a task", advice)]

    def judge(probe):
        if probe.gpus:
            return State.GOOD, "GPU " + ", ".join(probe.gpus), ""
        return State.FAILS, "a task without a GPU", advice
    return _by_host("GPU", probes, judge)


def space(_: Wanted, __: Driver, probes: Sequence[Probe]) -> List[Verdict]:
    """Whether there is room for temporary files."""
    def judge(probe):
        found = "%s free in %s" % (_size(probe.free_bytes), probe.temporary)
        advice = ("make room, or point the job's worker.spool_dir, or spark.local.dir (on YARN the node manager's folders),"
                  " to where there is")
        if probe.free_bytes < _LEAST_FREE:
            return State.FAILS, found, advice
        return (State.WARNING, found, advice) if probe.free_bytes < _LITTLE_FREE else (State.GOOD, found, "")
    return _by_host("space", probes, judge)


CHECKS = (slots, package, program, ports, memory, clock, gpu, space)


def most_at_once(probes: Sequence[Probe]) -> int:
    """The greatest number of probes that ran at the same time."""
    moments = sorted([(probe.began, 1) for probe in probes] + [(probe.ended, -1) for probe in probes])
    running = most = 0
    for _, step in moments:
        running += step
        most = max(most, running)
    return most


_Judge = Callable[[Probe], Tuple[State, str, str]]


def _by_host(check: str, probes: Sequence[Probe], judge: _Judge) -> List[Verdict]:
    """One verdict for each host: the worst of what its probes found."""
    order = (State.GOOD, State.UNKNOWN, State.WARNING, State.FAILS)
    worst: Dict[str, Verdict] = {}
    for probe in probes:
        verdict = Verdict(check, probe.host, *judge(probe))
        known = worst.get(probe.host)
        if known is None or order.index(verdict.state) > order.index(known.state):
            worst[probe.host] = verdict
    return [worst[host] for host in sorted(worst)]


def _count(count: int, noun: str) -> str:
    return "%d %s" % (count, noun if count == 1 else noun + "s")


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return "%.3g %s" % (count, unit)
        count /= 1024
    return "%.4g TiB" % count
