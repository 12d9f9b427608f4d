"""bench/sync: its figures, by hand, and the whole command on very little data."""

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time

import pytest

from bench.comparison import figures, idx, page, plots, tables
from bench.comparison.settings import CASES, MODES
from tests.e2e.harness import FASHION, REPOSITORY, Workplace, job_text


def measured(seconds, samples, accuracy):
    return {"seconds": seconds, "epoch": samples / 100, "samples": samples, "accuracy": accuracy,
            "bytes_to_servers": 10 * samples, "bytes_from_servers": 30 * samples}


SERIES = [measured(1, 100, 0.2), measured(2, 200, 0.6), measured(4, 300, 0.7), measured(8, 400, 0.9)]


def test_the_four_points_are_the_measurements_nearest_to_the_quarters():
    assert [e["seconds"] for e in figures.quarters(SERIES, 400)] == [1, 2, 4, 8]
    late = [measured(1, 110, 0.1), measured(2, 260, 0.2)]
    assert [e and e["samples"] for e in figures.quarters(late, 400)] == [110, None, 260, None]
    assert figures.quarters([], 400) == [None] * 4


@pytest.mark.parametrize("accuracy, seconds", [(0.1, 1), (0.2, 1), (0.4, 1.5), (0.6, 2), (0.9, 8), (0.91, None)])
def test_the_time_to_an_accuracy(accuracy, seconds):
    assert figures.seconds_to(SERIES, accuracy) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("second, accuracy", [(0.5, None), (1, 0.2), (3, 0.65), (8, 0.9), (9, 0.9)])
def test_the_accuracy_at_a_time(second, accuracy):
    found = figures.at_second(SERIES, second, "accuracy")
    assert found == (None if accuracy is None else pytest.approx(accuracy))


def test_the_target_is_below_the_worst_mode_that_learnt():
    assert figures.target([0.893, 0.881]) == 0.87
    assert figures.target([0.893, 0.1]) == 0.88
    assert figures.target([0.89]) == 0.88


@pytest.mark.parametrize("finals, classes, least", [
    ([0.89, 0.1], 10, 0.445), ([0.1, 0.1], 10, 0.105), ([0.95, 0.5], 2, 0.525), ([], 10, 0.105),
])
def test_what_has_not_learnt_has_collapsed(finals, classes, least):
    assert figures.least_learnt(finals, classes) == pytest.approx(least)


def test_the_fast_workers_are_done_when_the_last_of_them_is():
    workers = [{"partition": i, "seconds": s} for i, s in enumerate([3, 5, 9])]
    assert figures.fast_done({"workers": workers}, 2) == 5
    workers[0]["seconds"] = None
    assert figures.fast_done({"workers": workers}, 2) is None


def results():
    run = {"mode": "bsp", "case": "alike", "result": "done", "reason": None, "seconds": 8.0, "samples": 400,
           "images_per_second": 50.0, "accuracy": 0.9, "staleness": 0.0, "bytes_to_servers": 4e6,
           "bytes_from_servers": 12e6, "quarters": figures.quarters(SERIES, 400), "series": SERIES, "fast": None,
           "seconds_to_target": 5.0}
    slow = {**run, "case": "straggler", "seconds": 16.0, "seconds_to_target": 15.0,
            "fast": {"seconds": 3, "accuracy": 0.65, "samples": 250, "bytes_to_servers": 1, "bytes_from_servers": 1}}
    failed = {"mode": "asp", "case": "alike", "result": "failed", "reason": "no <such> mode", "series": [],
              "seconds_to_target": None}
    return {"date": "2026-01-02", "machine": "a machine", "title": "a net", "workers": 2, "servers": 2, "batch": 64,
            "epochs": 4, "samples": 100, "steps_per_epoch": 25.0, "seed": 1, "quick": False, "target": 0.8,
            "modes": {name: {"place": i, "about": MODES[name].about, "sync": MODES[name].sync,
                             "optimizer": MODES[name].optimizer} for i, name in enumerate(["bsp", "asp"])},
            "cases": {name: {"title": case.title, "slow_down": case.slow_down} for name, case in CASES.items()},
            "runs": [run, failed, slow]}


def test_the_tables():
    header, rows = tables.work(results(), "alike")
    assert rows[0] == ["bsp", "1.0 / 2.0 / 3.0 / 4.0", "25 / 50 / 75 / 100", "1 / 2 / 4 / 8",
                       "20.0 / 60.0 / 70.0 / 90.0", "50", "4", "12", "0.0"]
    assert rows[1] == ["asp", "failed: no <such> mode"]
    assert "asp   failed: no <such> mode\n" in tables.as_text(header, rows)
    collapsed = results()
    collapsed["runs"][0]["collapsed"] = collapsed["runs"][2]["collapsed"] = True
    assert tables.work(collapsed, "alike")[1][0][4] == "20.0 / 60.0 / 70.0 / 90.0 collapsed"
    assert tables.straggler(collapsed)[1][0][6] == "90.0 collapsed"
    lines = tables.as_markdown(header, rows).splitlines()
    assert {line.count("|") for line in lines} == {len(header) + 1}
    header, rows = tables.straggler(results())
    assert rows == [["bsp", "8", "16", "2.00", "3", "65.0", "90.0", "5", "15", "3.00"]]
    assert "seconds to 80\u00a0%, alike" in header


def test_the_page_needs_nothing_else_and_follows_the_theme():
    text = page.page(results())
    assert not re.search(r"""(?:src|href)=["'](?!#)|<script|@import|url\(""", text)
    assert text.count("<svg role") == 0 and text.count('role="img"') == 6
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text
    assert "no &lt;such&gt; mode" in text
    drawn = "".join(re.findall(r'<svg aria-label.*?</svg>', text, flags=re.S))
    assert not re.search(r"rgb\(|black|white", drawn)
    assert set(re.findall(r"var\(--(\w+)\)", drawn)) == {"axis", "grid", "text", "mode0"}
    ids = re.findall(r"""\bid=["']?([\w-]+)""", text)
    assert len(ids) == len(set(ids))
    assert all(use in ids for use in re.findall(r"""xlink:href=['"]#([^'"]+)""", text))


def test_every_mode_has_a_colour_and_settings_that_the_job_file_knows(tmp_path):
    assert len(MODES) <= len(page.COLOURS)
    assert len(page.SHAPES) == len(plots.MARKS)
    for name, mode in MODES.items():
        assert name.startswith(mode.sync["mode"]) and mode.about
        job = tmp_path / f"{name}.yaml"
        job.write_text(job_text(**{key: json.dumps(section) for key, section in mode.keys().items()}))
        checked = subprocess.run([REPOSITORY / "dist/bin/ps-run", "--check", job], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr


def test_a_file_cut_short_is_idx_again(tmp_path):
    source = FASHION / "t10k-images-idx3-ubyte.gz"
    assert idx.count(source) == 10000
    idx.cut(source, 7, tmp_path / "some")
    whole = gzip.open(source).read()
    assert (tmp_path / "some").read_bytes() == struct.pack(">2i", 0x803, 7) + whole[8 : 16 + 7 * 784]
    assert idx.count(tmp_path / "some") == 7


def bench(*arguments, prelude=""):
    """bench/sync, after some Python."""
    code = f"import runpy, sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{prelude}\n"
    code += f"sys.argv[0] = {str(REPOSITORY / 'bench/sync')!r}\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120)


# A mode that ps-run does not know.
UNKNOWN = """
from bench.comparison.settings import MODES, Mode
MODES["hogwild"] = Mode("not there", {"mode": "hogwild"}, {"name": "sgd"})
"""


def test_the_whole_command(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(job_text())
    out = tmp_path / "out"
    result = bench("--job", job, "--quick", "--epochs", 1, "--set", "data.limit=2000", "--modes", "bsp,peer,asp,hogwild",
                   "--out", out, prelude=UNKNOWN)
    assert result.returncode == 1, result.stderr  # for one mode failed
    kept = json.loads((out / "results.json").read_text())
    assert [(run["case"], run["mode"], run["result"]) for run in kept["runs"]] == [
        (case, mode, "failed" if mode == "hogwild" else "done")
        for case in ("alike", "straggler") for mode in ("bsp", "peer", "asp", "hogwild")
    ]
    assert kept["samples"] == 2000 and kept["epochs"] == 1 and kept["workers"] == 2
    for run in kept["runs"]:
        if run["result"] == "failed":
            assert "sync.mode: 'hogwild' is none of" in run["reason"]
            continue
        assert run["samples"] == 2000
        assert run["quarters"][3]["samples"] == 2000 and run["quarters"][3]["accuracy"] == run["accuracy"]
        assert run["series"][-1]["bytes_from_servers"] == run["bytes_from_servers"] > 0
        assert run["seconds_to_target"] is None or run["seconds_to_target"] <= run["seconds"]
        assert (run["fast"] is None) == (run["case"] == "alike")
    for text in (result.stdout, (out / "tables.md").read_text(), (out / "index.html").read_text()):
        assert "All workers alike" in text and "The last worker three times as slow" in text
        assert "bsp" in text and "hogwild" in text and "is none of" in text
    assert (out / "index.html").read_text().count('role="img"') == 6
    assert "1 of 8: alike, bsp: " in result.stderr and "8 of 8: straggler, hogwild: failed" in result.stderr
    # Workers that hold the parameters exchange what servers would.
    exchanged = {run["mode"]: run["bytes_from_servers"] for run in kept["runs"] if run["case"] == "alike" and run["series"]}
    assert exchanged["peer"] == exchanged["bsp"]
    logs = out / "runs" / "straggler-asp" / "logs"
    assert "takes 3 times as long" in (logs / "worker-1.log").read_text()
    again = bench("--redraw", out, prelude=UNKNOWN)
    assert again.returncode == 0 and again.stdout == result.stdout


def test_an_interrupted_comparison_keeps_what_it_has_and_leaves_nobody(tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(job_text())
    out = tmp_path / "out"
    with open(tmp_path / "said", "w") as said:
        process = subprocess.Popen([REPOSITORY / "bench/sync", "--job", job, "--epochs", "100000", "--out", out],
                                   stdout=said, stderr=said, start_new_session=True)
    metrics = out / "runs" / "alike-bsp" / "metrics.jsonl"
    deadline = time.monotonic() + 30
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
    assert process.wait(30) == 130, (tmp_path / "said").read_text()
    runs = json.loads((out / "results.json").read_text())["runs"]
    assert [(run["mode"], run["result"], run["reason"]) for run in runs] == [("bsp", "failed", "interrupted")]
    assert not Workplace(tmp_path).wait_until_quiet()


def test_what_cannot_be_compared_is_refused_at_once(tmp_path):
    (tmp_path / "mine").write_text("precious")
    assert "is not empty" in bench("--out", tmp_path).stderr
    assert "no mode hogwild; there are bsp" in bench("--modes", "bsp,hogwild").stderr
    assert "no folder at /nowhere" in bench("--data", "/nowhere", "--out", tmp_path / "a").stderr
    assert "--set workers: 0 is not between" in bench("--workers", 0, "--out", tmp_path / "b").stderr
