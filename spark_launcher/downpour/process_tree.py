"""Ends what this process has started: the JVM, its Python workers, their children."""
from __future__ import annotations

import os
import signal
import time
from typing import Dict, List, Tuple

_LOOK_S = 0.05

Process = Tuple[int, str]  # pid and start time, which together name one process for good


def end_descendants(grace_s: float = 10.0) -> None:
    """Sends SIGTERM to all descendants of this process, waits until they are gone, then kills those that remain.

    A descendant that has lost its parent before this call is not found; the programs of this package notice a lost
    parent by themselves.
    """
    processes = _descendants()
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    _signal(processes, signal.SIGKILL)
    while any(_alive(process) for process in processes):
        time.sleep(_LOOK_S)
    _reap()


def _descendants() -> List[Process]:
    children: Dict[int, List[Process]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat:
                children.setdefault(int(stat[1]), []).append((int(name), stat[19]))
    found, todo = [], [os.getpid()]
    while todo:
        for process in children.get(todo.pop(), []):
            found.append(process)
            todo.append(process[0])
    return found


def _stat(pid: int) -> List[str]:
    """The fields of /proc/PID/stat after the name, which begin with the state; none if the process is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def _alive(process: Process) -> bool:
    stat = _stat(process[0])
    return bool(stat) and stat[19] == process[1] and stat[0] not in "ZX"


def _signal(processes: List[Process], number: int) -> None:
    for process in processes:
        if _alive(process):
            try:
                os.kill(process[0], number)
            except ProcessLookupError:
                pass


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
