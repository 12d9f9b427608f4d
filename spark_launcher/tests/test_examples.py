"""The examples, run as their users run them."""
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys

import pyspark
import pytest
import yaml
from pyspark.sql import functions as F

from downpour.ml import DownpourClassificationModel

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"
FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def test_fashion_mnist_by_spark_submit(tmp_path):
    submit = pathlib.Path(pyspark.__file__).parent / "bin" / "spark-submit"
    ended = subprocess.run(
        [str(submit), "--master", "local[2]", "--conf", "spark.ui.enabled=false", "--conf", "spark.driver.host=127.0.0.1",
         str(EXAMPLES / "fashion_mnist.py"), "--folder", str(FASHION), "--rows", "6000", "--epochs", "2", "--model",
         str(tmp_path / "model")],
        cwd=tmp_path, env={**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert float(re.search(r"held out: ([\d.]+) %", ended.stdout).group(1)) > 70
    assert len(re.search(r"loss of each epoch: (.*)", ended.stdout).group(1).split(", ")) == 2
    assert (tmp_path / "model" / "metadata").is_dir() and (tmp_path / "model" / "data").is_dir()
    assert "|label|" in ended.stdout


def run_here(monkeypatch, capsys, folder, name, *arguments):
    """Runs an example in this process, with the tests' session; gives what it printed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.long
def test_a_pipeline_on_numbers_and_words(spark, tmp_path, monkeypatch, capsys):
    said = run_here(monkeypatch, capsys, tmp_path, "customers.py", "--rows", 6000, "--epochs", 30)
    assert float(re.search(r"held out: ([\d.]+)", said).group(1)) > 0.8  # a linear model comes to 0.7
    assert "TrainingSummary: done, 30 epochs in" in said


def test_a_whole_job_on_a_table(spark, tmp_path, monkeypatch, capsys):
    """The job of the example for Kubernetes, with servers of this host."""
    (job,) = [document for document in yaml.safe_load_all((EXAMPLES / "kubernetes" / "job.yaml").read_text())]
    text = re.sub(r"ps-server-\d\.ps-server:7100", "127.0.0.1:0", job["data"]["job.yaml"])
    (tmp_path / "job.yaml").write_text(text)
    numbers = [F.rand(seed).alias("n%d" % seed) for seed in range(12)]
    leaves = (F.col("n0") + F.col("n1") > 1).cast("int")
    table = spark.range(0, 2000, 1, 4).select(*numbers).withColumn("leaves", leaves)
    table.write.parquet(str(tmp_path / "table"))
    said = run_here(monkeypatch, capsys, tmp_path, "train_table.py", "--job", "job.yaml", "--table", tmp_path / "table",
                    "--label", "leaves", "--model", tmp_path / "model")
    assert "TrainingSummary: done, 20 epochs in" in said
    model = DownpourClassificationModel.load(str(tmp_path / "model"))
    right = model.transform(table).where("prediction = leaves").count()
    assert right > 1600


# Runs a notebook with other settings in its cell of parameters, and writes what its cells came to and displayed. In a process
# of its own: running one changes how this process takes signals, and a Spark that runs here would reach its environment.
RUN_NOTEBOOK = """
import json, sys
import nbformat
from nbclient import NotebookClient

source, settings, folder, result = sys.argv[1:]
notebook = nbformat.read(source, 4)
(parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
parameters.source = settings
shown = []

class Client(NotebookClient):
    def process_message(self, message, cell, index):
        if message["msg_type"] in ("display_data", "update_display_data"):
            shown.append(message["content"]["data"])
        return super().process_message(message, cell, index)

Client(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
with open(result, "w") as file:
    json.dump({"shown": shown, "cells": notebook.cells}, file)
"""


@pytest.mark.long
def test_the_notebook_trains_shows_how_far_it_is_and_scores(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK", "PYSPARK"))}
    environment.update(JUPYTER_PREFER_ENV_PATH="1",  # the kernel of this Python, not one of the user's
                       PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    settings = "folder, rows, epochs = %r, 6000, 6" % str(FASHION)
    ended = subprocess.run([sys.executable, "-c", RUN_NOTEBOOK, str(EXAMPLES / "fashion_mnist.ipynb"), settings,
                            str(tmp_path), str(tmp_path / "result.json")],
                           cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=400)
    assert ended.returncode == 0, ended.stdout[-3000:]
    result = json.loads((tmp_path / "result.json").read_text())
    cells, shown = result["cells"], result["shown"]
    bars = [data["text/plain"] for data in shown if data["text/plain"].startswith("[")]
    assert "the servers start" in bars[0] and any("] epoch " in bar for bar in bars)
    assert "] done, 6 epochs in" in bars[-1] and "accuracy" in bars[-1]
    (fit,) = [cell for cell in cells if cell["source"].startswith("model = classifier.fit")]
    assert len(fit["outputs"]) == 1 and "background:#2e8b57" in fit["outputs"][0]["data"]["text/html"]
    (summary,) = [cell for cell in cells if cell["source"] == "model.summary"]
    assert "data:image/png;base64" in summary["outputs"][0]["data"]["text/html"]
    assert summary["outputs"][0]["data"]["text/plain"].startswith("TrainingSummary: done, 6 epochs in")
