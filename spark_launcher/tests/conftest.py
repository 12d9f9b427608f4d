"""Fixtures: a local Spark, and stand-ins for the native programs."""
import json
import os
import signal
import stat
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", default=False, help="also the tests that are marked long")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes too long for every run; tools/test --long has it")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long; tools/test --long has it"))


@pytest.fixture(scope="session")
def spark():
    import pyspark
    from pyspark.sql import SparkSession
    os.environ["PYSPARK_PYTHON"] = sys.executable
    # Before Spark 4 a task may be given the Python worker of one that was killed, whose socket is closed.
    reuse = int(pyspark.__version__.split(".")[0]) >= 4
    session = (SparkSession.builder.master("local[2]").appName("downpour tests")
               .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
               .config("spark.log.level", "OFF").config("spark.python.worker.reuse", str(reuse).lower())
               .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
               .config("spark.sql.execution.arrow.maxRecordsPerBatch", "100")
               .config("spark.executor.memoryOverhead", "1g")
               .getOrCreate())
    yield session
    session.stop()


def _program(folder, source):
    """An executable from a script of this folder, run by this Python."""
    path = folder / source.replace("_", "-").replace(".py", "")
    with open(os.path.join(HERE, source), encoding="utf-8") as script:
        path.write_text("#!%s -S\n%s" % (sys.executable, script.read()))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def fake_worker(tmp_path):
    return _program(tmp_path, "fake_worker.py")


@pytest.fixture
def fake_run(tmp_path):
    return _program(tmp_path, "fake_run.py")


@pytest.fixture
def write_job(tmp_path):
    """Writes a job file for the stand-ins: JSON, which is YAML too. A stand-in that a failed test has left behind is ended:
    its task would keep a slot from the tests that follow."""
    def write(workers=2, mode="downpour", shape=(1, 2, 2), **behaviour):
        job = {"workers": workers, "sync": {"mode": mode}, "data": {"shape": list(shape)},
               "folder": str(tmp_path), **behaviour}
        path = tmp_path / "job.yaml"
        path.write_text(json.dumps(job))
        return str(path)
    yield write
    for file in tmp_path.glob("pid-*"):
        pid = int(file.read_text() or 0)
        if pid and is_running(pid):
            os.kill(pid, signal.SIGKILL)


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def running():
    return is_running
