"""The readers of files and frames that others made, given damaged ones for a minute: all at once, so that it is one minute in all."""

import pathlib
import subprocess

PROGRAMS = pathlib.Path(__file__).resolve().parents[2] / "bazel-bin/tests/fuzz"
TARGETS = ("caffe", "codec", "lmdb", "onnx", "records", "safetensors")


def test_a_minute_of_damaged_files_each():
    started = [subprocess.Popen([PROGRAMS / f"{name}_fuzz", "--seconds", "60"], stdout=subprocess.PIPE, text=True)
               for name in TARGETS]
    for name, process in zip(TARGETS, started):
        said = process.communicate(timeout=300)[0]
        assert process.returncode == 0, f"{name}: status {process.returncode}"
        assert "files made of them" in said
