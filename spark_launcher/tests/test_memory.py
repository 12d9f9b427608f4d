"""What a worker may take of an executor's memory."""
import pytest

from downpour.memory import MIB, ExecutorMemory, executor_memory, spool_dir


def of(**settings):
    """What is known of an executor from these settings, "_" for "." in their names."""
    named = {"spark." + name.replace("_", "."): value for name, value in settings.items()}
    return executor_memory(named.get)


YARN, ALONE, K8S = "yarn", "spark://host:7077", "k8s://https://host"


@pytest.mark.parametrize("settings, overhead, slots", [
    (dict(master=YARN, executor_memoryOverhead="2g", executor_cores="4"), 2048, 4),
    (dict(master=YARN, executor_memoryOverhead="700", executor_cores="4", task_cpus="2"), 700, 2),
    (dict(master=YARN, executor_memoryOverhead="1 GB"), 1024, 1),
    (dict(master=YARN), 384, 1),
    (dict(master=YARN, executor_memory="20g"), 2048, 1),
    (dict(master=YARN, executor_memory="20g", executor_memoryOverheadFactor="0.25"), 5120, 1),
    (dict(master=YARN, executor_memory="1g", executor_minMemoryOverhead="600m"), 600, 1),
    (dict(master=K8S, executor_memory="10g", executor_cores="2"), 1024, 2),
    (dict(master=K8S, executor_memory="10g", kubernetes_memoryOverheadFactor="0.2"), 2048, 1),
    (dict(master=ALONE, executor_memory="4096m"), 409.6, 0),
    (dict(master=ALONE, executor_memoryOverhead="1g", executor_cores="8"), 1024, 8),
    (dict(master="local-cluster[2, 3, 1024]", executor_memory="1024m"), 384, 3),
    (dict(master="local[2]", executor_memoryOverhead="1g"), 1024, 2),
    (dict(master="local[*, 4]", executor_memoryOverhead="1g"), 1024, 0),
    (dict(master="local", executor_memoryOverhead="1g"), 1024, 1),
])
def test_an_executors_overhead_and_slots(settings, overhead, slots):
    memory = of(**settings)
    assert (memory.overhead, memory.slots) == (int(overhead * MIB), slots)


@pytest.mark.parametrize("settings", [{}, dict(master="local[2]"), dict(master="local[2]", executor_memory="2g"),
                                      dict(master=ALONE)])
def test_where_nothing_bounds_an_executor_the_jobs_key_holds(settings):
    assert of(**settings) is None


def test_a_share_is_three_quarters_without_python_and_no_more_than_the_workers_that_there_are():
    memory = ExecutorMemory(4096 * MIB, 4)
    assert memory.share(tasks=8) == (4096 * 3 // 4 // 4 - 128) * MIB
    assert memory.share(tasks=2) == (4096 * 3 // 4 // 2 - 128) * MIB
    assert ExecutorMemory(4096 * MIB, 0, 2).share(tasks=8, host_cpus=16) == (4096 * 3 // 4 // 8 - 128) * MIB
    assert of(master=YARN, executor_memoryOverhead="4g", executor_pyspark_memory="1g").share(1) == 3072 * MIB
    assert ExecutorMemory(384 * MIB, 2).share(tasks=2) == 64 * MIB


def test_rows_are_spooled_to_sparks_own_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/no/such/folder,%s" % tmp_path)
    assert spool_dir() == str(tmp_path)
    monkeypatch.delenv("SPARK_LOCAL_DIRS")
    monkeypatch.setenv("LOCAL_DIRS", str(tmp_path))
    assert spool_dir() == str(tmp_path)
