"""The Scala side: a driver program with the jar, on a real standalone cluster, and models that cross to Python."""
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import time

import numpy as np
import pyarrow as pa
import pyspark
import pytest
from pyspark.ml.linalg import Vectors

from downpour.errors import TrainingFailed
from downpour.frames import Columns, FrameEncoder
from downpour.ml import DownpourClassificationModel, DownpourClassifier, DownpourRegressionModel
from downpour.placement import place

_spec = importlib.util.spec_from_file_location("standalone", pathlib.Path(__file__).with_name("standalone.py"))
_standalone = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_standalone)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPARK = pathlib.Path(pyspark.__file__).parent
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
FEATURES, ROWS = 6, 600
(JAR,) = (ROOT / "dist").glob("downpour_2.13-*.jar")


@pytest.fixture(scope="module")
def rows():
    """Features and the class of each row, which a linear function of them decides."""
    dice = np.random.default_rng(3)
    features = dice.normal(size=(ROWS, FEATURES)).astype(np.float32)
    return features, (features @ dice.normal(size=(FEATURES, 3))).argmax(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scala")


@pytest.fixture(scope="module")
def df(spark, rows, folder):
    def vector(i, x):
        return Vectors.dense(x) if i % 2 else Vectors.sparse(FEATURES, range(FEATURES), x)
    data = [(i, vector(i, x), float(y)) for i, (x, y) in enumerate(zip(*rows))]
    made = spark.createDataFrame(data, ["id", "features", "label"]).repartition(2)
    made.write.parquet(str(folder / "rows"))
    return spark.read.parquet(str(folder / "rows")).cache()


KINDS = {
    "features_binary": ("binary", lambda x: bytes(x), pa.binary()),
    "features_floats": ("array<float>", lambda x: [float(v) / 3 for v in x], pa.list_(pa.float32())),
    "features_doubles": ("array<double>", lambda x: [float(v) / 3 for v in x], pa.list_(pa.float64())),
    "features_ints": ("array<int>", list, None),
    "label_int": ("int", lambda x: x[0], pa.int32()),
    "label_tiny": ("tinyint", lambda x: x[0] % 100, pa.int8()),
    "label_big": ("bigint", lambda x: x[0] << 40, pa.int64()),
    "label_double": ("double", lambda x: float(x[0]), pa.float64()),
    "label_float": ("float", lambda x: float(x[0]), pa.float32()),
    "label_flag": ("boolean", lambda x: x[0] % 2 == 1, None),
    "weight": ("double", lambda x: x[1] / 2, pa.float64()),
    "held_out": ("boolean", lambda x: x[1] % 3 == 0, pa.bool_()),
}
NUMBERS = [[3 * i, i, 255 - i, 7] for i in range(20)]


@pytest.fixture(scope="module")
def left_by_python(spark, df, folder):
    """A model and an estimator that Python saved, and rows of every type of column."""
    classifier = DownpourClassifier(layers=[FEATURES, 16, 3], numWorkers=2, maxIter=20, batchSize=20, syncMode="bsp",
                                    seed=1, stepSize=0.02, runDir=str(folder / "python-runs"),
                                    settings={"optimizer.name": "adam"})
    classifier.save(str(folder / "python-classifier"))
    model = classifier.fit(df)
    model.save(str(folder / "python-model"))
    schema = "id int, " + ", ".join("%s %s" % (name, kind) for name, (kind, _, _) in KINDS.items())
    data = [(i, *(make(x) for _, make, _ in KINDS.values())) for i, x in enumerate(NUMBERS)]
    spark.createDataFrame(data, schema).write.parquet(str(folder / "kinds"))
    return model


@pytest.fixture(scope="module")
def cluster(folder):
    with _standalone.Standalone(folder / "cluster") as running:
        yield running


@pytest.fixture(scope="module")
def compiling(folder):
    """The compiler at work on the driver program of ../scala/tests, against the jar, as a user's would be."""
    jars, classes = SPARK / "jars", folder / "classes"
    classes.mkdir()
    compiler = [str(next(jars.glob("scala-%s-2.*.jar" % part))) for part in ("compiler", "reflect", "library")]
    return subprocess.Popen(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", ":".join(compiler), "scala.tools.nsc.Main", "-classpath",
         "%s:%s/*" % (JAR, jars), "-d", str(classes), "-Werror", str(ROOT / "spark_launcher/scala/tests/Driver.scala")])


@pytest.fixture(scope="module")
def driver_jar(compiling, folder):
    """The driver program, and what a Java user writes."""
    classes, jar = folder / "classes", folder / "driver.jar"
    subprocess.run(["javac", "-cp", "%s:%s/jars/*" % (JAR, SPARK), "-d", str(classes),
                    str(ROOT / "spark_launcher/scala/tests/JavaUser.java")], check=True)
    assert compiling.wait() == 0
    subprocess.run(["jar", "--create", "--file", str(jar), "-C", str(classes), "."], check=True)
    return jar


def submit(master, *arguments, timeout=500):
    """Runs a program as its user would; no Python that it may find has the package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYSPARK_PYTHON"}
    return subprocess.run(
        [str(SPARK / "bin" / "spark-submit"), "--master", master, "--conf", "spark.ui.enabled=false", "--conf",
         "spark.driver.host=127.0.0.1", "--conf", "spark.executor.memory=512m", "--conf", "spark.task.maxFailures=2",
         "--conf", "spark.ui.showConsoleProgress=false", *map(str, arguments)],
        env={**environment, "SPARK_LOCAL_IP": "127.0.0.1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def seen(compiling, cluster, left_by_python, driver_jar, folder):
    """What the driver program saw; it runs once for all tests."""
    ended = submit(cluster.url, "--class", "downpour.Driver", "--jars", JAR, driver_jar, folder)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-6000:]
    return json.loads((folder / "seen.json").read_text())


def by_id(frame):
    return frame.orderBy("id").collect()


def same_scores(model, df, theirs):
    """Whether scored rows have the values that a model of Python's gives."""
    assert theirs.columns == ["id", "features", "label", "rawPrediction", "probability", "prediction", "relu1"]
    rows = list(zip(by_id(model.transform(df)), by_id(model.extractFeatures(df, ["relu1"])), by_id(theirs)))
    assert len(rows) == theirs.count() == ROWS
    for one, layers, other in rows:
        assert (one.id, one.prediction, layers.relu1) == (other.id, other.prediction, other.relu1)
        assert one.rawPrediction == other.rawPrediction
        assert np.allclose(one.probability.toArray(), other.probability.toArray(), rtol=1e-12, atol=0)
    return True


@pytest.mark.parametrize("mode", ["downpour", "bsp", "peer"])
def test_a_model_that_scala_trained_says_the_same_in_python(seen, spark, df, folder, mode):
    told = seen[mode]
    # What an asynchronous mode has learnt depends on how busy the machine is.
    assert told["accuracy"] == told["loaded"] > (0.75 if mode == "downpour" else 0.95)
    assert len(told["history"]) == 20 and told["history"][0] > told["history"][-1]
    assert told["samples"] == 20 * ROWS and told["samples_per_second"] > 0
    assert (told["classes"], told["features"], told["layers"]) == (3, FEATURES, [FEATURES, 16, 3])
    assert told["has_summary"] is False
    model = DownpourClassificationModel.load(str(folder / ("scala-" + mode)))
    assert (model.uid, model.numClasses, model.getMaxIter(), model.getSyncMode()) == (told["uid"], 3, 20, mode)
    assert model.getSettings()["optimizer"] == {"name": "adam", "learning_rate": 0.01}
    theirs = spark.read.parquet(str(folder / ("scored-" + mode)))
    assert same_scores(model, df, theirs)


def test_a_model_that_python_trained_says_the_same_in_scala(seen, spark, df, folder, left_by_python):
    model = left_by_python
    assert seen["python"]["uid"] == model.uid
    theirs = spark.read.parquet(str(folder / "scored-python"))
    assert same_scores(model, df, theirs)


def test_rows_with_weights_and_rows_that_are_held_out(seen, spark, df, folder):
    told = seen["measured"]
    assert [len(history) for history in told["histories"]] == [20] * 4
    loss, accuracy, validation_loss, validation_accuracy = told["histories"]
    assert loss[0] > loss[-1] and validation_loss[0] > validation_loss[-1]
    assert min(accuracy[-1], validation_accuracy[-1], told["accuracy"]) > 0.9
    assert told["predict"] == told["transform"]
    model = DownpourClassificationModel.load(str(folder / "scala-measured"))
    assert (model.getWeightCol(), model.getValidationIndicatorCol()) == ("w", "v")
    assert model.getThresholds() == [0.5, 0.2, 0.3]
    assert same_scores(model, df, spark.read.parquet(str(folder / "scored-measured")))


def test_a_regression(seen, spark, df, folder):
    told = seen["numbers"]
    assert len(told["history"]) == 20 and told["history"][0] > told["history"][-1]
    assert "DataError: the job's net ends with euclidean_loss, whose labels are numbers: use DownpourRegressor" in (
        told["other estimator"])
    ours = by_id(DownpourRegressionModel.load(str(folder / "scala-numbers")).transform(df))
    theirs = by_id(spark.read.parquet(str(folder / "scored-numbers")))
    assert [row.prediction for row in ours] == [row.prediction for row in theirs] and len(ours) == ROWS


def test_an_estimator_crosses_too(seen, folder):
    told = seen["python"]
    assert (told["settings"], told["mode"], told["step"], told["layers"]) == (
        {"optimizer.name": "adam"}, "bsp", 0.02, [FEATURES, 16, 3])
    assert "DownpourClassificationModel, not a downpour.ml.DownpourClassifier" in told["wrong class"]
    ours = DownpourClassifier.load(str(folder / "python-classifier"))
    back = DownpourClassifier.load(str(folder / "scala-classifier"))
    both = [{param.name: value for param, value in one.extractParamMap().items()} for one in (ours, back)]
    assert both[0] == both[1]


def test_frames_are_the_same_byte_by_byte(seen, folder):
    assert len(seen["frames"]) == 4 + 5 + 2
    for name in seen["frames"]:
        columns = []
        for column in name.split("-"):
            _, make, kind = KINDS[column]
            values = [make(x) for x in NUMBERS]
            if column == "features_ints":
                values, kind = [[float(v) for v in x] for x in values], pa.list_(pa.float32())
            if column == "label_flag":
                values, kind = [int(v) for v in values], pa.int32()
            columns.append(pa.array(values, kind))
        names = ["f", "l", "w", "h"][:len(columns)]
        encoder = FrameEncoder(Columns(*names), 4)
        batch = pa.RecordBatch.from_arrays(columns, names=names)
        expected = [bytes(part) for frame in [*encoder.encode(batch), *encoder.end()] for part in frame]
        assert (folder / (name + ".frames")).read_bytes() == b"".join(expected), name


def test_in_a_pipeline_with_text_labels(seen):
    told = seen["pipeline"]
    assert told["accuracy"] > 0.9
    assert told["columns"][-3:] == ["rawPrediction", "probability", "prediction"]
    assert "red" in told["class metadata"]


@pytest.mark.parametrize("what, message", [
    ("features column", "DataError: there is no column 'x' for the features; the columns are id, features, label"),
    ("label column", "DataError: there is no column 'y' for the labels"),
    ("text", "DataError: column 'label' is of type string: .*StringIndexer makes numbers of text"),
    ("several", "DataError: column 't', one of several for the features, .* each should be a number"),
    ("no net", "DataError: there is no net: set layers, or job"),
    ("key", "TrainingFailed: .*did you mean sync.n_push?"),
    ("width", "WorkerFailed: .*column 'features', row 0 .* has 6 values: the job's data.shape makes it 5"),
    ("classes", "WorkerFailed: .*the net has 2 classes, counted from 0.*its last log lines:"),
    ("no rows", "TrainingFailed: there are no rows to train on"),
    ("a failing source", "PartitionFailed: a partition could not be computed: .*the source is gone"),
    ("nan scored", "row 0 of the partition, has a value that is not finite"),
    ("layer", "the net has no layer ip9 with values; it has ip1, relu1, ip2"),
    ("layer column", "IllegalArgumentException: there is a column 'label' already"),
    ("null features", "DataError: column 'x', row 0 of the partition, is null"),
    ("null value", "column 'x', row 0 .* has a value that is null"),
    ("not finite", "column 'x', row 0 .* has a value that is not finite"),
    ("too wide", "column 'x', row 0 of the partition, has 5 values: the job's data.shape makes it 4"),
    ("null label", "column 'y', row 0 of the partition, is null"),
    ("half a label", "WorkerFailed: .*0.5"),
    ("weights", "WorkerFailed: .*weight.* -1"),
    ("no weight", "TrainingFailed: there is nothing to train on: the rows' weights add up to 0"),
    ("there already", "IllegalArgumentException: there is a column 'rawPrediction' already"),
    ("weight column", "DataError: column 'w' is of type string: weights should be numbers, at least 0"),
    ("indicator", "DataError: column 'label' is of type double: a validation indicator should be a boolean"),
    ("twice", "DataError: features, label, weight and validation indicator should be different columns"),
    ("thresholds", "DataError: thresholds should be one for each of the 3 classes"),
])
def test_bad_input_is_said(seen, what, message):
    assert re.search(message, seen["refused"][what], re.DOTALL)


def test_an_attempt_that_fails_is_made_up_for_and_told_of(seen):
    assert seen["retried"] == {"result": "done", "retries": ["it was killed"]}


def test_the_first_failed_attempt_is_the_one_error_and_the_others_are_listed(seen):
    told = seen["killed"]
    assert (told.get("status"), told["reason"], told["partition"]) == (-9, "it was killed", 0)
    assert "out of memory" in told["hint"] and 0 < told["lines"] <= 50
    assert "at org.apache" not in told["message"] and told["cause"] == "org.apache.spark.SparkException"
    ((partition, attempt, reason),) = told["others"]
    assert partition == 0 and int(attempt.split(".")[1]) > int(told["attempt"].split(".")[1])
    assert "attempt %s on " % attempt in told["message"]


def test_servers_as_tasks(seen):
    told = seen["tasks"]
    assert told["result"] == "done" and told["logs"] == ["server-0.log", "worker-0.log"]
    assert "TrainingFailed: server 0 on " in told["lost"] and "failed: it was killed by signal 9" in told["lost"]


def test_servers_are_where_python_has_them(seen):
    for servers, addresses, host, peers, theirs in seen["places"]:
        try:
            ours = list(place(servers, addresses, host or None, peers).addresses)
        except TrainingFailed as error:
            ours = str(error)
        assert ours == theirs, (servers, addresses, host, peers)


def test_an_interrupt_ends_the_workers(seen, folder):
    assert seen["interrupted"].startswith("InterruptedException")
    deadline = time.monotonic() + 15
    while left_in(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_in(folder)


def left_in(folder):
    """Command lines of the ps-* processes whose files are in `folder`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and os.path.basename(command[0]).startswith("ps-") and str(folder) in " ".join(command):
                    found.append(command)
        except OSError:
            pass
    return found


@pytest.fixture
def submitted(tmp_path):
    """A job file, and what spark-submit of it comes to on a local Spark of so many threads."""
    job = {"name": "submitted", "workers": 2, "sync": {"mode": "easgd"},
           "optimizer": {"name": "sgd", "learning_rate": 0.1},
           "training": {"batch": 50, "epochs": 2}, "run": {"dir": str(tmp_path / "runs"), "evaluations": 1},
           "data": {"train": {"images": str(FASHION / "train-images-idx3-ubyte.gz"),
                              "labels": str(FASHION / "train-labels-idx1-ubyte.gz")}, "limit": 4000,
                    "test": {"images": str(FASHION / "t10k-images-idx3-ubyte.gz"),
                             "labels": str(FASHION / "t10k-labels-idx1-ubyte.gz")}},
           "net": [{"name": "ip1", "type": "inner_product", "outputs": 10}, {"name": "loss", "type": "softmax_loss"}]}

    def run(threads, mode, *flags):
        job["sync"]["mode"] = mode
        (tmp_path / "job.yaml").write_text(json.dumps(job))
        return submit("local[%d]" % threads, "--class", "downpour.Main", JAR, tmp_path / "job.yaml", *flags)
    return run


def test_a_whole_job_by_spark_submit(submitted, tmp_path):
    ended = submitted(2, "easgd", "--model", tmp_path / "model")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert len(re.search(r"loss of each epoch: (.*)", ended.stdout).group(1).split(", ")) == 2
    assert float(re.search(r"accuracy on held-out rows: ([\d.]+) %", ended.stdout).group(1)) > 50
    assert (tmp_path / "model" / "metadata").is_dir() and (tmp_path / "model" / "data").is_dir()


def test_a_job_that_fails_says_why_in_one_line(submitted):
    ended = submitted(1, "bsp")
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("downpour: ")]
    assert "Spark has fewer slots than the job has workers" in line and line.endswith("(1 slots, 2 workers)")


def test_a_job_that_is_not_there(tmp_path):
    ended = subprocess.run(["java", "-cp", "%s:%s/*" % (JAR, SPARK / "jars"), "downpour.Main", tmp_path / "none.yaml"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "downpour: there is no job file %s" % (tmp_path / "none.yaml") in ended.stderr.splitlines()
