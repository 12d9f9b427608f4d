"""bench/scale: the whole command on few workers."""

import json
import shutil
import subprocess

import pytest

from bench import scale_tables
from tests.e2e.harness import REPOSITORY

SMALL = ("--quick", "--parameters", "160000", "--stands-for", "100")


def scale(*arguments):
    return subprocess.run([REPOSITORY / "bench/scale", *map(str, arguments)], capture_output=True, text=True,
                          timeout=500)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("scale") / "figures.json"
    done = scale(*SMALL, "--workers", "3,20", "--seed", 7, "--set", "optimizer.learning_rate=0.5", "--json", out)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text())


def test_each_mode_with_each_number_of_workers(results):
    text, kept = results
    assert [(run["workers"], run["mode"]) for run in kept["runs"]] == [
        (workers, mode) for workers in (3, 20) for mode in ("bsp", "ssp", "downpour")]
    assert kept["seed"] == 7 and kept["machine"] in text
    for run in kept["runs"]:
        assert run["flags"]["parameters"] == "160000" and run["flags"]["seed"] == "7"
        figures = run["figures"]
        assert 0 < figures["of_ideal"] < 1.1
        assert figures["account"]["unexpected"] == 0
        assert (figures["staleness"]["max"] == 0) == (run["mode"] == "bsp")
    # All that was assumed is printed.
    for flag in kept["runs"][0]["flags"]:
        assert flag in scale_tables.OF_THE_RUN or f"{flag} " in text


def test_the_same_seed_has_the_same_figures(results, tmp_path):
    _, kept = results
    done = scale(*SMALL, "--workers", 20, "--modes", "ssp", "--seed", 7, "--set", "optimizer.learning_rate=0.5",
                 "--json", tmp_path / "again.json")
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "again.json").read_text())["runs"][0]["figures"]
    assert again == next(run for run in kept["runs"] if (run["workers"], run["mode"]) == (20, "ssp"))["figures"]


@pytest.mark.skipif(shutil.which("gnuplot") is None, reason="gnuplot is not installed")
def test_the_plot_has_a_line_for_each_mode(results):
    drawn = scale_tables.draw(results[1])
    assert drawn.count("<title>") >= 6 and "downpour" in drawn


def test_mistakes_are_said():
    assert "no sync mode 'hogwild'" in scale(*SMALL, "--workers", 3, "--modes", "hogwild").stderr
    assert "has no servers to simulate" in scale(*SMALL, "--workers", 3, "--modes", "peer").stderr
    assert "--nonsense" in scale(*SMALL, "--workers", 3, "--nonsense", 1).stderr
    assert "sync.s" in scale(*SMALL, "--workers", 3, "--modes", "bsp", "--set", "sync.s=1").stderr
