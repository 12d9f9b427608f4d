"""How much of an executor's memory a worker may take, and where it may spool what has no room.

A container's memory beside the JVM's heap is spark.executor.memoryOverhead. It is shared by what the JVM itself takes
outside of its heap, the Python process of each task, and that task's worker:

    a worker's share = 3/4 of the overhead / tasks at once - 128 MiB for Python, and no less than 64 MiB

where Python's part is not taken off if spark.executor.pyspark.memory says what it may have.
"""
from __future__ import annotations

import os
import re
import tempfile
from typing import Callable, NamedTuple, Optional

MIB = 1 << 20
_LEAST = 64 * MIB
_PYTHON = 128 * MIB  # an interpreter with pyspark and pyarrow takes 100 MB, and holds a record batch
_UNITS = {"b": 1, "k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


class ExecutorMemory(NamedTuple):
    """What one executor has beside its heap, in bytes, and how many tasks it runs at once. Travels to executors.

    slots is 0 where the settings do not say: then an executor has all cores of its host, for tasks of task_cpus each.
    python_apart: the Python processes have memory of their own.
    """
    overhead: int
    slots: int
    task_cpus: int = 1
    python_apart: bool = False

    def share(self, tasks: int, host_cpus: Optional[int] = None) -> int:
        """What one of a run's `tasks`, its workers and servers that are tasks, may take, on an executor's host with so
        many CPUs."""
        slots = self.slots or max(1, (host_cpus or os.cpu_count() or 1) // self.task_cpus)
        python = 0 if self.python_apart else _PYTHON
        return max(self.overhead * 3 // 4 // min(slots, tasks) - python, _LEAST)


def executor_memory(setting: Callable[[str], Optional[str]]) -> Optional[ExecutorMemory]:
    """What Spark's settings say of an executor; None where nothing bounds its memory, as with local[N].

    The overhead is spark.executor.memoryOverhead. Where that is not set it is what Spark itself makes of
    spark.executor.memory, which YARN and Kubernetes have a default of. `setting` gives a setting by its name, or None.
    """
    master = setting("spark.master") or ""
    overhead = _size(setting("spark.executor.memoryOverhead"))
    if overhead is None:
        overhead = _default_overhead(setting, master)
    if overhead is None:
        return None
    task_cpus = int(setting("spark.task.cpus") or 1)
    return ExecutorMemory(overhead, _cores(setting, master) // task_cpus, task_cpus,
                          bool(setting("spark.executor.pyspark.memory")))


def executor_memory_of(spark) -> Optional[ExecutorMemory]:
    """The same of a session, classic or Connect."""
    return executor_memory(lambda name: spark.conf.get(name, None))


def spool_dir() -> str:
    """In a task: the first of Spark's local folders that can be written to, or the system's for temporary files."""
    for folder in (os.environ.get("SPARK_LOCAL_DIRS") or os.environ.get("LOCAL_DIRS") or "").split(","):
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return tempfile.gettempdir()


def _default_overhead(setting, master: str) -> Optional[int]:
    contained = master.startswith(("yarn", "k8s:"))
    memory = _size(setting("spark.executor.memory"))
    if memory is None and contained:
        memory = 1024 * MIB
    if memory is None or master == "local" or master.startswith("local["):
        return None
    factor = setting("spark.executor.memoryOverheadFactor")
    if factor is None and master.startswith("k8s:"):
        # In cluster mode Spark itself has set it, to 0.4 for what is not a JVM program.
        factor = setting("spark.kubernetes.memoryOverheadFactor")
    least = _size(setting("spark.executor.minMemoryOverhead")) or 384 * MIB
    return max(int(memory * float(factor or 0.1)), least)


def _cores(setting, master: str) -> int:
    """Cores of one executor; 0 where only its host can say."""
    local = re.match(r"local-cluster\[\d+,(\d+)|local\[(\d+|\*)|local$", master.replace(" ", ""))
    if local:
        cores = local.group(1) or local.group(2) or "1"
        return 0 if cores == "*" else int(cores)
    cores = setting("spark.executor.cores")
    if cores:
        return int(cores)
    return 1 if master.startswith(("yarn", "k8s:")) else 0


def _size(text: Optional[str]) -> Optional[int]:
    """Bytes of a size as Spark writes it, in MiB where it has no unit; None for none, or what is no size."""
    found = re.fullmatch(r"(\d+)\s*([bkmgtp])?b?", (text or "").strip().lower())
    return int(found.group(1)) * _UNITS[found.group(2) or "m"] if found else None
