"""Through Spark Connect, on a local Spark and on a real standalone cluster: no context, no RDD and no JVM on the driver's
side."""
import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import pyspark
import pytest

_spec = importlib.util.spec_from_file_location("standalone", pathlib.Path(__file__).with_name("standalone.py"))
_standalone = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_standalone)

ROOT = pathlib.Path(__file__).resolve().parents[2]

DRIVER = """
import json, os, sys
import numpy as np
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from downpour.ml import DownpourClassificationModel, DownpourClassifier

builder = SparkSession.builder
if sys.argv[2].startswith("spark:"):  # a server of one's own, in front of a cluster
    builder.master(sys.argv[2]).config("spark.api.mode", "connect").config("spark.executor.memory", "512m")
else:
    builder.remote(sys.argv[2])
spark = builder.getOrCreate()
assert type(spark).__module__.startswith("pyspark.sql.connect")
dice = np.random.default_rng(3)
features = dice.normal(size=(600, 6))
classes = (features @ dice.normal(size=(6, 3))).argmax(1)
df = spark.createDataFrame([(i, Vectors.dense(x), float(y)) for i, (x, y) in enumerate(zip(features, classes))],
                           ["id", "features", "label"])

def accuracy(model):
    rows = model.transform(df).select("label", "prediction").collect()
    return sum(row.label == row.prediction for row in rows) / len(rows)

def refused(action):
    try:
        action()
    except Exception as error:
        return "%s: %s" % (type(error).__name__, error)

classifier = DownpourClassifier(layers=[6, 16, 3], maxIter=20, numWorkers=2, batchSize=20, runDir="runs", seed=1,
                                syncMode=sys.argv[1], settings={"optimizer": {"name": "adam", "learning_rate": 0.01}})
model = classifier.fit(df)
path = os.path.abspath("model")  # the server may run elsewhere
seen = {"accuracy": accuracy(model), "epochs": model.summary.totalIterations}
model.save(path)
seen["again"] = refused(lambda: model.save(path))
model.write().overwrite().save(path)
seen["loaded"] = accuracy(DownpourClassificationModel.load(path))
seen["layer"] = len(model.extractFeatures(df, ["relu1"]).first().relu1)
seen["label"] = refused(lambda: classifier.fit(df.withColumn("label", df.label + 7)))
seen["column"] = refused(lambda: classifier.copy().setFeaturesCol("x").fit(df))
if not sys.argv[2].startswith("spark:"):
    slots = sys.modules["downpour.slots"]
    seen["slots"] = refused(lambda: classifier.copy().setSyncMode("bsp").setNumWorkers(3).fit(df))
    slots._probe(spark, 2)
    slots._PROBE_S = 1.0
    seen["probe"] = refused(lambda: slots._probe(spark, 3))
print(json.dumps(seen))
"""


HAS_SERVER = bool(list((pathlib.Path(pyspark.__file__).parent / "jars").glob("spark-connect*.jar")))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A master's URL."""
    if not HAS_SERVER:
        pytest.skip("this PySpark has no Spark Connect server, as PyPI's had not before Spark 4")
    with _standalone.Standalone(tmp_path_factory.mktemp("connect") / "cluster") as running:
        yield running.url


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """Where the session goes: a server of this PySpark's own, or of the checkout's environment for a PySpark without
    one."""
    if HAS_SERVER:
        yield "local[2]"
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    other = next((ROOT / ".venv" / "lib").glob("python3*/site-packages/pyspark"), None)
    if other is None:
        pytest.skip("this PySpark has no Spark Connect server, and there is no .venv with one: run tools/build")
    folder = tmp_path_factory.mktemp("connect")
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [other / "bin" / "spark-submit", "--master", "local[2]", "--conf", "spark.ui.enabled=false",
             "--conf", "spark.connect.grpc.binding.address=127.0.0.1", "--conf", "spark.connect.grpc.binding.port=%d" % port,
             "--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(other),
                 "PYSPARK_PYTHON": str(ROOT / ".venv" / "bin" / "python")})
    try:
        deadline = time.monotonic() + 180
        while server.poll() is None and not _listens(port):
            assert time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
            time.sleep(0.2)
        assert server.poll() is None, (folder / "log").read_text()[-3000:]
        yield "sc://127.0.0.1:%d" % port
    finally:
        server.terminate()
        server.wait(60)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("where, mode", [
    pytest.param("remote", "downpour", marks=pytest.mark.long), ("cluster", "bsp")])
def test_fit_transform_save_and_load(request, tmp_path, where, mode):
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    ended = subprocess.run([sys.executable, str(driver), mode, request.getfixturevalue(where)], cwd=tmp_path, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                           env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"})
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    seen = json.loads(ended.stdout.splitlines()[-1])
    # What an asynchronous mode has learnt depends on how busy the machine is.
    assert seen["accuracy"] == seen["loaded"] > (0.95 if mode == "bsp" else 0.75)
    assert (seen["epochs"], seen["layer"]) == (20, 16)
    assert "exists" in seen["again"]
    # Before Spark 4 a client gets but the beginning of a long error, which need not have all of the worker's.
    kinds = ("WorkerFailed: ",) if int(pyspark.__version__.split(".")[0]) >= 4 else ("WorkerFailed: ", "TrainingFailed: ")
    assert seen["label"].startswith(kinds) and "the net has 3 classes" in seen["label"]
    assert "there is no column 'x'" in seen["column"]
    if where == "remote":
        assert "fewer slots than the job has workers" in seen["slots"]
        assert "a stage of 3 tasks that do nothing did not get to run at once within 1 s" in seen["probe"]
