"""Through Spark Connect: no context, no RDD and no JVM on the driver's side."""
import json
import os
import subprocess
import sys

import pytest

DRIVER = """
import json, sys
import numpy as np
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession
from downpour.ml import DownpourClassificationModel, DownpourClassifier

spark = SparkSession.builder.remote("local[2]").getOrCreate()
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
seen = {"accuracy": accuracy(model), "epochs": model.summary.totalIterations}
model.save("model")
seen["again"] = refused(lambda: model.save("model"))
model.write().overwrite().save("model")
seen["loaded"] = accuracy(DownpourClassificationModel.load("model"))
seen["layer"] = len(model.extractFeatures(df, ["relu1"]).first().relu1)
seen["label"] = refused(lambda: classifier.fit(df.withColumn("label", df.label + 7)))
seen["column"] = refused(lambda: classifier.copy().setFeaturesCol("x").fit(df))
print(json.dumps(seen))
"""


@pytest.mark.parametrize("mode", ["downpour", "bsp"])
def test_fit_transform_save_and_load(tmp_path, mode):
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    ended = subprocess.run([sys.executable, str(driver), mode], cwd=tmp_path, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                           env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"})
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    seen = json.loads(ended.stdout.splitlines()[-1])
    # What an asynchronous mode has learnt depends on how busy the machine is.
    assert seen["accuracy"] == seen["loaded"] > (0.95 if mode == "bsp" else 0.75)
    assert (seen["epochs"], seen["layer"]) == (20, 16)
    assert "exists" in seen["again"]
    assert seen["label"].startswith("WorkerFailed: ") and "the net has 3 classes" in seen["label"]
    assert "there is no column 'x'" in seen["column"]
