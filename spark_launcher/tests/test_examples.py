"""The examples, run as their users run them."""
import os
import pathlib
import re
import subprocess
import sys

import pyspark

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
