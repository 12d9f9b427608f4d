"""DownpourClassifier on a real local Spark, with real servers, workers and predictors."""
import json
import os
import re

import numpy as np
import pyspark.ml.functions
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator, RegressionEvaluator
from pyspark.ml.feature import StandardScaler, StringIndexer
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType, _parse_datatype_string

from downpour import columns
from downpour.errors import DataError, TrainingFailed, WorkerFailed
from downpour.frames import Columns, FrameEncoder, Shown
from downpour.ml import (DownpourClassificationModel, DownpourClassifier, DownpourRegressionModel,
                         DownpourRegressor)

FEATURES = 6
ROWS = 600


@pytest.fixture(scope="module")
def rows():
    """Features and the class of each row, which a linear function of them decides."""
    dice = np.random.default_rng(3)
    features = dice.normal(size=(ROWS, FEATURES)).astype(np.float32)
    return features, (features @ dice.normal(size=(FEATURES, 3))).argmax(1)


@pytest.fixture(scope="module")
def df(spark, rows):
    data = [(i, Vectors.dense(x), float(y)) for i, (x, y) in enumerate(zip(*rows))]
    return spark.createDataFrame(data, ["id", "features", "label"]).repartition(2).cache()


@pytest.fixture
def classifier(tmp_path):
    """A classifier that learns these rows in a moment; its run is this test's own."""
    def make(**changes):
        params = {"layers": [FEATURES, 16, 3], "numWorkers": 2, "maxIter": 20, "batchSize": 20, "runDir": str(tmp_path),
                  "syncMode": "bsp", "seed": 1,
                  "settings": {"optimizer": {"name": "adam", "learning_rate": 0.01}, "worker.heartbeat_ms": 50,
                               "run.progress_ms": 50}}
        params.update(changes)
        return DownpourClassifier(**params)
    return make


@pytest.fixture(scope="module")
def model(df, tmp_path_factory):
    return DownpourClassifier(
        layers=[FEATURES, 16, 3], numWorkers=2, maxIter=20, batchSize=20, syncMode="bsp", seed=1,
        runDir=str(tmp_path_factory.mktemp("runs")),
        settings={"optimizer": {"name": "adam", "learning_rate": 0.01}, "run.progress_ms": 50}).fit(df)


def accuracy(scored):
    return MulticlassClassificationEvaluator(metricName="accuracy").evaluate(scored)


def forward(model, features):
    """The net's scores by numpy, from the model's own file."""
    data = model.safetensors
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])

    def tensor(name):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(data[8 + length + begin:8 + length + end], np.float32).reshape(header[name]["shape"])
    hidden = np.maximum(features @ tensor("ip1.weight").T + tensor("ip1.bias"), 0)
    return hidden, hidden @ tensor("ip2.weight").T + tensor("ip2.bias")


def test_a_model_learns_and_scores_as_the_net_does(model, df, rows):
    scored = model.transform(df)
    assert scored.columns == ["id", "features", "label", "rawPrediction", "probability", "prediction"]
    assert accuracy(scored) > 0.95
    assert (model.numClasses, model.numFeatures) == (3, FEATURES)
    _, scores = forward(model, rows[0])
    for row in scored.collect():
        assert np.allclose(row.rawPrediction.toArray(), scores[row.id], atol=1e-4)
        likely = np.exp(scores[row.id] - scores[row.id].max())
        assert np.allclose(row.probability.toArray(), likely / likely.sum(), atol=1e-4)
        assert row.prediction == row.rawPrediction.toArray().argmax()


def test_the_summary_tells_how_it_went(model):
    assert model.hasSummary
    summary = model.summary
    assert summary.totalIterations == 20
    assert summary.objectiveHistory[0] > 0.5 > 0.3 > summary.objectiveHistory[-1]
    assert summary.totals["result"] == "done" and summary.totals["samples"] == 20 * ROWS
    assert os.path.exists(os.path.join(summary.run_dir, "model.safetensors"))


def test_rows_of_a_file_are_scored_with_all_their_columns(model, df, tmp_path, spark):
    df.write.parquet(str(tmp_path / "rows"))
    read = spark.read.parquet(str(tmp_path / "rows"))
    assert model.transform(read).orderBy("id").collect() == model.transform(df).orderBy("id").collect()
    assert model.extractFeatures(read, ["ip2"]).filter("label = 1").count() == df.filter("label = 1").count()


def test_features_of_each_kind_are_the_same_to_the_net(model, df, rows, spark):
    def predictions(scored):
        return [row.prediction for row in scored.orderBy("id").select("prediction").collect()]
    expected = predictions(model.transform(df))
    features, _ = rows
    sparse = spark.createDataFrame([(i, Vectors.sparse(FEATURES, list(range(FEATURES)), [float(v) for v in x]))
                                    for i, x in enumerate(features)], ["id", "features"])
    assert predictions(model.transform(sparse)) == expected
    doubles = spark.createDataFrame([(i, [float(v) for v in x]) for i, x in enumerate(features)],
                                    "id long, features array<double>")
    assert predictions(model.transform(doubles)) == expected
    assert predictions(model.transform(doubles.withColumn("features", F.col("features").cast("array<float>")))) == expected
    several = doubles.select("id", *[F.col("features")[i].alias("x %d" % i) for i in range(FEATURES)])
    other = model.copy().setFeaturesCols(["x %d" % i for i in range(FEATURES)])
    assert predictions(other.transform(several)) == expected


def test_bytes_are_values_too(spark, classifier):
    data = [(bytearray([200 * (i % 2), 10, 200 - 200 * (i % 2), 0]), i % 2) for i in range(200)]
    df = spark.createDataFrame(data, "features binary, label int")
    settings = {"data.scale": 0.01, "optimizer": {"name": "adam", "learning_rate": 0.05}}
    model = classifier(layers=[4, 2], settings=settings).fit(df)
    assert accuracy(model.transform(df.withColumn("label", F.col("label").cast("double")))) == 1


def test_saved_and_loaded_a_model_says_the_same(model, df, tmp_path):
    path = str(tmp_path / "model")
    model.write().save(path)
    with pytest.raises(Exception, match="exist"):
        model.write().save(path)
    model.write().overwrite().save(path)
    loaded = DownpourClassificationModel.load(path)
    assert (loaded.uid, loaded.numClasses, loaded.numFeatures) == (model.uid, 3, FEATURES)
    assert loaded.getLayers() == [FEATURES, 16, 3] and loaded.getMaxIter() == 20
    assert not loaded.hasSummary
    before, after = (m.transform(df).orderBy("id").collect() for m in (model, loaded))
    assert before == after
    with pytest.raises(ValueError, match="not a"):
        DownpourClassifier.load(path)


def test_an_unfitted_classifier_is_saved_too(classifier, tmp_path):
    one = classifier(syncMode="ssp")
    one.save(str(tmp_path / "classifier"))
    other = DownpourClassifier.load(str(tmp_path / "classifier"))
    assert (other.uid, other.getSyncMode(), other.getSettings()) == (one.uid, "ssp", one.getSettings())


def test_what_the_first_versions_saved_is_loaded(classifier, spark, tmp_path):
    one = classifier()
    one.save(str(tmp_path / "now"))
    metadata = spark.read.text(str(tmp_path / "now" / "metadata")).first().value
    assert '"class":"downpour.ml.DownpourClassifier"' in metadata
    earlier = metadata.replace("downpour.ml.", "downpour.ml.classifier.")
    spark.createDataFrame([(earlier,)], "value string").coalesce(1).write.text(str(tmp_path / "then" / "metadata"))
    assert DownpourClassifier.load(str(tmp_path / "then")).uid == one.uid


def test_every_param_can_be_set_and_read_by_its_name(classifier):
    values = {"featuresCol": "f", "featuresCols": ["a", "b"], "labelCol": "l", "predictionCol": "p", "probabilityCol": "q",
              "rawPredictionCol": "r", "maxIter": 3, "stepSize": 0.5, "seed": 7, "job": "name: x\n", "layers": [2, 2],
              "settings": {"sync.s": 1}, "syncMode": "ssp", "numWorkers": 3, "batchSize": 5, "servers": "tasks",
              "runDir": "/r", "weightCol": "w", "validationIndicatorCol": "v", "thresholds": [0.5, 0.5],
              "repartitionRandomShuffle": False}
    one = classifier()
    assert {param.name for param in one.params} == set(values)
    for name, value in values.items():
        capital = name[0].upper() + name[1:]
        assert getattr(one, "set" + capital)(value) is one
        assert getattr(one, "get" + capital)() == value
    both = DownpourClassifier(**values)
    assert all(both.getOrDefault(name) == value for name, value in values.items())
    assert one.setParams(maxIter=9).getMaxIter() == 9


def test_thresholds_and_single_rows(model, df, rows):
    scored = model.transform(df).orderBy("id").collect()
    for row in scored[:3]:
        assert np.allclose(model.predictRaw(row.features).toArray(), row.rawPrediction.toArray(), atol=1e-5)
        assert np.allclose(model.predictProbability(row.features).toArray(), row.probability.toArray(), atol=1e-5)
        assert model.predict(row.features) == row.prediction
    wary = model.copy().setThresholds([0.0, 1.0, 1.0])  # whatever has any chance of class 0
    assert all(row.prediction == 0 for row in wary.transform(df).collect())
    assert wary.predict(scored[0].features) == 0
    even = model.copy().setThresholds([1.0, 2.0, 0.5])
    for row in even.transform(df).collect():
        assert row.prediction == (row.probability.toArray() / [1.0, 2.0, 0.5]).argmax()


def test_a_row_of_weight_0_teaches_nothing(classifier, df):
    # Half of the rows are labelled wrong, and do not count.
    wrong = df.withColumn("wrong", F.col("id") % 2 == 0).withColumn(
        "label", F.when(F.col("wrong"), (F.col("label") + 1) % 3).otherwise(F.col("label")))
    weighted = wrong.withColumn("w", F.when(F.col("wrong"), 0).otherwise(1))
    model = classifier(weightCol="w", maxIter=20).fit(weighted)
    assert accuracy(model.transform(df)) > 0.9
    assert accuracy(classifier().fit(weighted).transform(df)) < 0.9
    # Twice the weight is the row twice: the first step, from the same parameters, is the same.
    step = {"settings": {"optimizer": {"name": "sgd", "learning_rate": 1.0}, "training.max_steps": 1,
                         "training.shuffle": False, "run.progress_ms": 50}, "numWorkers": 1}
    few = df.filter("id < 10").coalesce(1)
    twice = classifier(batchSize=20, **step).fit(few.union(few).coalesce(1))
    once = classifier(batchSize=10, weightCol="w", **step).fit(few.withColumn("w", F.lit(1.0)))
    doubled = classifier(batchSize=10, weightCol="w", **step).fit(few.withColumn("w", F.lit(2.0)))
    one_row = few.first().features
    assert np.allclose(once.predictRaw(one_row), twice.predictRaw(one_row), atol=1e-5)
    assert not np.allclose(doubled.predictRaw(one_row), twice.predictRaw(one_row), atol=1e-2)


def test_held_out_rows_are_measured_and_not_trained_on(classifier, df):
    held_out = df.withColumn("test", F.col("id") < 100)
    model = classifier(validationIndicatorCol="test", maxIter=5).fit(held_out)
    summary = model.summary
    assert summary.totals["samples"] == 5 * (ROWS - 100)
    for history in (summary.accuracyHistory, summary.validationObjectiveHistory, summary.validationAccuracyHistory):
        assert len(history) == 5
    assert summary.validationAccuracyHistory[-1] > summary.validationAccuracyHistory[0]
    expected = accuracy(model.transform(held_out.filter("test")))
    # In bsp a worker's copy is one update behind at the end of an epoch.
    assert abs(summary.validationAccuracyHistory[-1] - expected) < 0.05
    assert summary.accuracy == pytest.approx(summary.validationAccuracyHistory[-1])
    assert not model.summary.totals["problems"]


def test_numbers_by_a_regressor(spark, rows, tmp_path):
    features, _ = rows
    targets = features @ np.arange(FEATURES) / 5 + np.abs(features[:, 0])
    df = spark.createDataFrame([(Vectors.dense(x), float(y), i % 6 == 0) for i, (x, y) in enumerate(zip(features, targets))],
                               ["features", "label", "test"]).repartition(2).cache()
    regressor = DownpourRegressor(layers=[FEATURES, 16, 1], numWorkers=2, maxIter=30, batchSize=20, runDir=str(tmp_path),
                                  syncMode="bsp", seed=1, validationIndicatorCol="test", predictionCol="guess",
                                  settings={"optimizer": {"name": "adam", "learning_rate": 0.02}, "run.progress_ms": 50})
    model = regressor.fit(df)
    scored = model.transform(df)
    assert scored.columns == ["features", "label", "test", "guess"]
    assert RegressionEvaluator(predictionCol="guess", metricName="r2").evaluate(scored) > 0.95
    summary = model.summary
    assert summary.accuracy is None and set(summary.accuracyHistory) == {None}
    assert summary.objectiveHistory[-1] < 0.1 * summary.objectiveHistory[0]
    assert summary.validationObjectiveHistory[-1] < 0.1 * summary.validationObjectiveHistory[0]
    row = scored.first()
    assert model.predict(row.features) == pytest.approx(row.guess, abs=1e-5)
    model.save(str(tmp_path / "model"))
    assert DownpourRegressionModel.load(str(tmp_path / "model")).transform(df).first() == row
    with pytest.raises(DataError, match="ends with softmax_loss, whose labels are classes: use DownpourClassifier"):
        regressor.copy().setSettings({"net": [{"name": "loss", "type": "softmax_loss"}]}).fit(df)
    with pytest.raises(TrainingFailed, match="compares one value with one label; put an inner_product with outputs: 1"):
        regressor.copy().setLayers([FEATURES, 2]).fit(df)


def test_columns_without_a_name_are_left_out(model, df):
    scored = model.copy().setProbabilityCol("").setRawPredictionCol("").transform(df)
    assert scored.columns == ["id", "features", "label", "prediction"]


def test_in_a_pipeline_with_text_labels(classifier, df, tmp_path):
    colours = F.array(*map(F.lit, ["red", "green", "blue"]))
    named = df.withColumn("colour", F.element_at(colours, F.col("label").cast("int") + 1))
    pipeline = Pipeline(stages=[StringIndexer(inputCol="colour", outputCol="class"),
                                StandardScaler(inputCol="features", outputCol="scaled"),
                                classifier(featuresCol="scaled", labelCol="class")])
    fitted = pipeline.fit(named)
    fitted.write().overwrite().save(str(tmp_path / "pipeline"))
    scored = PipelineModel.load(str(tmp_path / "pipeline")).transform(named)
    assert MulticlassClassificationEvaluator(labelCol="class", metricName="accuracy").evaluate(scored) > 0.9


def test_in_a_cross_validator(classifier, df):
    one = classifier()
    grid = ParamGridBuilder().addGrid(one.maxIter, [1, 20]).build()
    evaluator = MulticlassClassificationEvaluator(metricName="accuracy")
    best = CrossValidator(estimator=one, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1).fit(df)
    assert len(best.avgMetrics) == 2 and best.avgMetrics[1] > best.avgMetrics[0]
    assert best.bestModel.getMaxIter() == 20


def test_named_layers_come_back_as_columns(model, df, rows):
    found = model.extractFeatures(df, ["relu1", "ip2"])
    assert found.columns == ["id", "features", "label", "relu1", "ip2"]
    hidden, scores = forward(model, rows[0])
    for row in found.collect():
        assert np.allclose(row.relu1, hidden[row.id], atol=1e-4)
        assert np.allclose(row.ip2, scores[row.id], atol=1e-4)
    with pytest.raises(ValueError, match="there is a column 'label' already"):
        model.extractFeatures(df, ["label"])
    with pytest.raises(ValueError, match="layers should be a list of layers' names, not 'ip2'"):
        model.extractFeatures(df, "ip2")
    with pytest.raises(Exception, match="the net has no layer ip9 with values; it has ip1, relu1, ip2"):
        model.extractFeatures(df, ["ip9"])


def test_a_job_of_ones_own(df, tmp_path):
    net = """
        name: own
        workers: 2
        training: {epochs: 20, batch: 20}
        optimizer: {name: adam, learning_rate: 0.01}
        data: {shape: [6], scale: 1}
        net:
          - {name: wide, type: inner_product, outputs: 8}
          - {name: bend, type: relu}
          - {name: scores, type: inner_product, outputs: 3}
          - {name: loss, type: softmax_loss}
    """
    file = tmp_path / "job.yaml"
    file.write_text(net)
    for job in (net, str(file)):
        model = DownpourClassifier(job=job, runDir=str(tmp_path), maxIter=2, settings={"sync.n_push": 2}).fit(df)
        assert model.numClasses == 3
        totals = model.summary.totals
        assert totals["job"] == "own" and totals["epochs"] == 2


def test_what_cannot_be_trained_on_is_said_before_anything_starts(classifier, df):
    def refusal(data=df, **changes):
        with pytest.raises((DataError, TrainingFailed)) as refused:
            classifier(**changes).fit(data)
        return str(refused.value)
    assert "there is no column 'x' for the features; the columns are id, features, label" in refusal(featuresCol="x")
    assert "there is no column 'y' for the labels" in refusal(labelCol="y")
    assert "there is no column 'w' for the weights" in refusal(weightCol="w")
    assert "there is no column 'v' for the validation indicator" in refusal(validationIndicatorCol="v")
    assert "a validation indicator should be a boolean" in refusal(validationIndicatorCol="id")
    assert "should be different columns" in refusal(weightCol="label")
    for thresholds in ([0.5, 0.5], [1.0, 1.0, float("nan")], [1.0, 1.0, float("inf")]):
        assert "thresholds should be one for each of the 3 classes" in refusal(thresholds=thresholds)
    text = df.withColumn("label", F.lit("red"))
    assert "weights should be numbers" in refusal(df.withColumn("w", F.lit("much")), weightCol="w")
    with pytest.raises(DataError, match="ends with euclidean_loss, whose labels are numbers: use DownpourRegressor"):
        classifier(settings={"net": [{"name": "ip", "type": "inner_product", "outputs": 1},
                                     {"name": "loss", "type": "euclidean_loss"}]}).fit(df)
    for loss, inputs in (("sigmoid_loss", ["ip"]), ("contrastive_loss", ["ip", "ip"])):
        with pytest.raises(DataError, match="ends with %s and has no score for each class" % loss):
            classifier(settings={"net": [{"name": "ip", "type": "inner_product", "outputs": len(inputs)},
                                         {"name": "loss", "type": loss, "inputs": inputs}]}).fit(df)
    assert "StringIndexer makes numbers of text" in refusal(text)
    assert "each should be a number" in refusal(text, featuresCols=["id", "label"])
    assert "should be a vector, an array of numbers or bytes" in refusal(featuresCol="id")
    assert "layers should be the number of features" in refusal(layers=[6])
    assert "settings (sync.n_pusch): unknown key; did you mean sync.n_push?" in refusal(settings={"sync.n_pusch": 1})
    assert "belongs to mode downpour, not to bsp" in refusal(syncMode="bsp", settings={"sync.n_push": 1})
    assert refusal(syncMode="hogwild", numWorkers=0).startswith(
        "the job was refused: numWorkers (workers): 0 is not between 1 and 100000\nsyncMode (sync.mode): 'hogwild' is none of")
    assert "job, line 2: training.max_steps: 'many' is not a whole number" in refusal(
        job="name: own\ntraining: {max_steps: many}\n")
    with pytest.raises(DataError, match="there is no net"):
        DownpourClassifier().fit(df)
    with pytest.raises(DataError, match="there is no job file"):
        DownpourClassifier(job="/none.yaml").fit(df)
    with pytest.raises(TypeError, match="settings should be a dict"):
        DownpourClassifier(settings=[1])


def test_columns_that_are_there_are_not_replaced(model, df):
    with pytest.raises(ValueError, match="there is a column 'label' already"):
        model.copy().setPredictionCol("label").transform(df)
    with pytest.raises(ValueError, match="there is a column 'prediction' already"):
        model.copy().setProbabilityCol("prediction").transform(df)
    with pytest.raises(ValueError, match="there is a column 'rawPrediction' already"):
        model.transform(model.transform(df))
    assert "Downpour" in model.transform(df.withColumn("Downpour", F.lit(7))).columns


def test_a_model_scores_with_the_drivers_python_where_nobody_chose_another(spark, model, df, monkeypatch):
    monkeypatch.delenv("PYSPARK_PYTHON")
    monkeypatch.setattr(spark.sparkContext, "pythonExec", "/no/such/python")
    assert model.transform(df).first().prediction in (0, 1, 2)


def test_columns_of_any_name(classifier, df):
    named = df.withColumnsRenamed({"features": "the.features", "label": "a `label`"}).withColumn("w.x", F.lit(1))
    one = classifier(featuresCol="the.features", labelCol="a `label`", weightCol="w.x")
    model = one.fit(named)
    assert accuracy(model.transform(named).withColumnsRenamed({"a `label`": "label"})) > 0.9
    with pytest.raises(WorkerFailed, match="column 'the.features', row 0 of the partition, has 6 values"):
        one.copy().setLayers([5, 3]).fit(named)


def test_rows_that_cannot_be_trained_on_are_named(classifier, df):
    def refusal(data, **changes):
        with pytest.raises(WorkerFailed) as refused:
            classifier(**changes).fit(data)
        return refused.value.reason
    assert "has 6 values: the job's data.shape makes it 5" in refusal(df, layers=[5, 3])
    assert "the net has 2 classes, counted from 0" in refusal(df, layers=[6, 2])
    assert "is -1, but the net has 3 classes, counted from 0" in refusal(df.withColumn("label", F.col("label") - 1))
    assert "the label of row 0 of the partition is 0.5, not a whole number" in refusal(df.withColumn("label", F.lit(0.5)))
    assert "the weight of row 0 of the partition is -1" in refusal(df.withColumn("w", F.lit(-1)), weightCol="w")
    assert "column 'w', row 0 of the partition, is null" in refusal(
        df.withColumn("w", F.lit(None).cast("float")), weightCol="w")
    assert "column 'v', row 0 of the partition, is null" in refusal(
        df.withColumn("v", F.lit(None).cast("boolean")), validationIndicatorCol="v")
    assert "column 'label', row 0 of the partition, is null" in refusal(df.withColumn("label", F.lit(None).cast("double")))
    assert "column 'features', row 0 of the partition, is null" in refusal(
        df.withColumn("features", F.when(F.col("id") < 0, F.col("features"))))
    wild = df.withColumn("features", F.array(*[F.lit(float("nan"))] * 6))
    assert "not finite (NaN or infinity)" in refusal(wild)


@pytest.mark.parametrize("kind, features, column", [
    ("null bytes", "x binary", None), ("short bytes", "x binary", bytearray(b"ab")),
    ("null array", "x array<float>", None), ("null value", "x array<double>", [1.0, None, 3.0]),
    ("not a number", "x array<float>", [1.0, float("nan"), 3.0]), ("infinity", "x array<double>", [1.0, 2.0, float("-inf")]),
    ("long array", "x array<float>", [1.0, 2.0, 3.0, 4.0]), ("odd name", "x array<float>", None),
    ("null vector", "x vector", None), ("long vector", "x vector", Vectors.sparse(4, {0: 1.0})),
    ("vector with nan", "x vector", Vectors.dense(1.0, 2.0, float("nan"))), ("null label", "y double", None),
    ("several columns", "b double", None)])
def test_what_is_said_of_a_bad_row_finds_it_in_the_dataframe(spark, kind, features, column):
    name, _, type_name = features.partition(" ")
    good = {"binary": bytearray(b"abc"), "array<float>": [1.0, 2.0, 3.0], "array<double>": [1.0, 2.0, 3.0], "double": 1.0,
            "vector": Vectors.dense(1.0, 2.0, 3.0)}[type_name]
    schema = StructType([StructField("id", LongType()),
                         StructField(name, VectorUDT() if type_name == "vector" else _parse_datatype_string(type_name))])
    df = spark.createDataFrame([(i, column if i == 3 else good) for i in range(5)], schema)
    wanted, label = name, None
    if kind == "null label":
        df, wanted, label = df.withColumn("x", F.array(*[F.lit(1.0)] * 3)), "x", "y"
    elif kind == "several columns":
        df, wanted = df.withColumn("a.1", F.lit(1.0)).withColumn("c", F.lit(1)), ["a.1", "b", "c"]
    elif kind == "odd name":
        df, wanted = df.withColumnRenamed("x", "x.`1`"), "x.`1`"
    expressions = [columns.features(df, wanted).alias("features"), *([df.y.alias("label")] if label else [])]
    shown = Shown(Columns("a.1, b, c" if kind == "several columns" else wanted, label), columns.features_in_python(df, wanted))
    encoder = FrameEncoder(Columns("features", label and "label"), 3, shown)
    with pytest.raises(DataError) as said:
        for batch in df.select(*expressions)._collect_as_arrow():
            list(encoder.encode(batch))
    suggested = re.search(r" \((df\.filter\(.*\)) finds such rows; F is pyspark.sql.functions\)$", str(said.value)).group(1)
    assert [row.id for row in eval(suggested, {"F": F, "df": df, "pyspark": pyspark})
            .collect()] == [3]


def test_rows_that_cannot_be_scored_are_named(model, df):
    with pytest.raises(Exception, match="has 2 values: the job's data.shape makes it 6"):
        model.transform(df.withColumn("features", F.array(F.lit(1.0), F.lit(2.0)))).collect()
    with pytest.raises(Exception, match="is null"):
        model.transform(df.withColumn("features", F.lit(None).cast("array<float>"))).collect()


def test_the_older_kind_of_function_gives_the_same(model, df, monkeypatch):
    expected = model.transform(df).orderBy("id").collect()
    monkeypatch.delattr("pyspark.sql.functions.arrow_udf", raising=False)
    assert model.transform(df).orderBy("id").collect() == expected


def test_no_rows_are_no_trouble(model, df):
    assert model.transform(df.limit(0)).count() == 0
    assert model.transform(df.limit(0)).collect() == []
