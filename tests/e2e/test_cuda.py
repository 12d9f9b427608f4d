"""GPUs, as far as a machine without one can tell: what needs one is in tools/gpu_bundle."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NVCC = pathlib.Path("/usr/local/cuda/bin/nvcc")


def test_a_build_without_cuda_refuses_it_before_anything_starts(place):
    checked = place.run("ps-run", "--check", place.job(worker={"device": "cuda"}))
    assert checked.returncode == 64
    assert checked.stderr.splitlines() == ["device cuda: this build has no CUDA; choose worker.device cpu"]


@pytest.mark.timeout(1500)
@pytest.mark.skipif(not NVCC.exists(), reason=f"no CUDA Toolkit: {NVCC} is not there")
def test_the_kernels_compile():
    command = ["bazel", "build", "--config=cuda", "--experimental_convenience_symlinks=ignore", "//kernels/cuda:ops"]
    subprocess.run(command, cwd=ROOT, check=True)
