"""The estimator on a real standalone cluster: a master and two workers, each executor a process of its own."""
import importlib.util
import json
import os
import pathlib
import re
import signal
import time

import pytest

_spec = importlib.util.spec_from_file_location("standalone", pathlib.Path(__file__).with_name("standalone.py"))
_standalone = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_standalone)

# What each driver program begins with: a session on the cluster, and rows that a small net can learn.
PRELUDE = """
import json, os, sys
import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler, StringIndexer
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession, functions as F
from downpour.ml import DownpourClassificationModel, DownpourClassifier

spark = (SparkSession.builder.master(os.environ["MASTER"]).config("spark.executor.memory", "512m")
         .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false").getOrCreate())
dice = np.random.default_rng(3)
features = dice.normal(size=(2000, 10)).astype(np.float32)
classes = (features @ dice.normal(size=(10, 3))).argmax(1)
df = spark.createDataFrame([(Vectors.dense(x), float(y)) for x, y in zip(features, classes)],
                           ["features", "label"]).repartition(2)
# Where a task is tried again it must see the same rows: what repartition gives is not kept.
df.write.parquet("rows")
df = spark.read.parquet("rows").coalesce(2)

def classifier(**changes):
    return DownpourClassifier(**{**dict(layers=[10, 32, 3], numWorkers=2, batchSize=20, runDir="runs", seed=1), **changes})

evaluator = MulticlassClassificationEvaluator(metricName="accuracy")

def accuracy(model):
    return evaluator.evaluate(model.transform(df))
"""

FITS = """
seen = {}
for mode in sys.argv[1:]:
    model = classifier(syncMode=mode, maxIter=10, settings={"optimizer": {"name": "adam", "learning_rate": 0.01}}).fit(df)
    model.save("model-" + mode)
    loaded = DownpourClassificationModel.load("model-" + mode)
    seen[mode] = {"accuracy": accuracy(model), "loaded": accuracy(loaded), "history": model.summary.objectiveHistory}

one = classifier(syncMode="bsp", settings={"optimizer": {"name": "adam", "learning_rate": 0.01}})
named = df.withColumn("colour", F.element_at(F.array(*map(F.lit, ["red", "green", "blue"])), F.col("label").cast("int") + 1))
stages = [StringIndexer(inputCol="colour", outputCol="class"), StandardScaler(inputCol="features", outputCol="scaled"),
          one.copy().setFeaturesCol("scaled").setLabelCol("class").setMaxIter(5)]
Pipeline(stages=stages).fit(named).save("pipeline")
seen["pipeline"] = evaluator.copy({evaluator.labelCol: "class"}).evaluate(PipelineModel.load("pipeline").transform(named))
grid = ParamGridBuilder().addGrid(one.maxIter, [1, 5]).build()
best = CrossValidator(estimator=one, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1).fit(df)
seen["cross validation"] = {"metrics": best.avgMetrics, "epochs": best.bestModel.getMaxIter()}
print(json.dumps(seen))
"""

LONG_FIT = """
model = classifier(layers=[10, 400, 400, 3], syncMode=sys.argv[1], maxIter=40,
                   settings={"optimizer.learning_rate": 0.05, "run.progress_ms": 50, "worker.heartbeat_ms": 50,
                             "worker.lease_ms": 2000}).fit(df)
print(json.dumps({"accuracy": accuracy(model), "totals": model.summary.totals}))
"""


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory):
    with _standalone.Standalone(tmp_path_factory.mktemp("standalone") / "cluster") as running:
        yield running


@pytest.fixture
def cluster(_cluster, tmp_path):
    """The module's cluster, with a folder of the test's own for drivers."""
    _cluster.folder = tmp_path
    return _cluster


def last_line(ended):
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def fitted(_cluster, tmp_path_factory):
    _cluster.folder = tmp_path_factory.mktemp("fits")
    return last_line(_cluster.run(PRELUDE + FITS, "downpour", "bsp", "peer", timeout=400))


@pytest.mark.parametrize("mode", ["downpour", "bsp", "peer"])
def test_fit_transform_save_and_load(fitted, mode):
    seen = fitted[mode]
    # What an asynchronous mode has learnt depends on how busy the machine is.
    assert seen["accuracy"] == seen["loaded"] > (0.75 if mode == "downpour" else 0.9)
    assert len(seen["history"]) == 10


def test_in_a_pipeline_and_in_a_cross_validator(fitted):
    assert fitted["pipeline"] > 0.9
    seen = fitted["cross validation"]
    assert seen["metrics"][1] > seen["metrics"][0] and seen["epochs"] == 5


def once_it_trains(cluster, driver):
    """Waits until a driver's job has begun; the run's folder."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        for metrics in cluster.folder.glob("runs/*/metrics.jsonl"):
            for line in metrics.read_text().splitlines():
                event = json.loads(line)
                if event["event"] == "progress" and event["epoch"] > 1:
                    return metrics.parent
        time.sleep(0.05)
    raise AssertionError("it does not train: %s" % (driver.communicate() if driver.poll() is not None else ""))


@pytest.mark.parametrize("mode", ["asp", "bsp"])
def test_an_executor_that_is_killed_costs_nothing_but_time(cluster, mode):
    driver = cluster.start(PRELUDE + LONG_FIT, mode)
    run = once_it_trains(cluster, driver)
    # Of this run: those of an earlier one may still be ending.
    worker = next(pid for pid, command in cluster.programs().items() if "/ps-worker " in command)
    os.kill(cluster.executor_of(worker), signal.SIGKILL)
    out, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, out[-3000:] + err[-6000:]
    seen = json.loads(out.splitlines()[-1])
    assert seen["accuracy"] > 0.75
    totals = seen["totals"]
    assert totals["result"] == "done"
    # Neither lost nor repeated: each row once an epoch, each gradient once.
    assert totals["samples"] == 40 * 2000
    assert sum(worker["samples"] for worker in totals["workers"]) == 40 * 2000
    # The attempts that were lost on the way are told of.
    assert any(worker["ended"] for worker in totals["workers"])
    joined = re.findall(r"worker (\d) .*attempt (\d+)\.\d+\) joined", (run / "logs" / "server-0.log").read_text())
    assert len(joined) > 2
    if mode == "bsp":  # all start again, and nobody without the others
        assert [partition for partition, _ in joined[2:]] in (["0", "1"], ["1", "0"])
        assert len({stage for _, stage in joined[2:]}) == 1 and int(joined[2][1]) > int(joined[0][1])
        log = (run / "logs" / "server-0.log").read_text()
        assert log.index("left: DONE") > log.rindex("joined")
