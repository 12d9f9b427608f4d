"""How a run is shown in a notebook, by the events that ps-run would send; the example's notebook shows a real one."""
import base64
import sys
import types

import pytest

from downpour import notebook, report

PROGRESS = {"event": "progress", "seconds": 10.0, "epoch": 3.0, "epochs": 12.0, "fraction": 0.25, "samples": 1000,
            "images_per_second": 12640.4, "loss": 0.2634, "staleness": 2.81}
SUMMARY = {"event": "summary", "result": "done", "problems": [], "seconds": 52.0, "epochs": 12.0,
           "images_per_second": 12640.4, "training_loss": 0.2634, "mean_staleness": 2.81, "accuracy": 0.8921}


class Kernel:
    """A stand-in for IPython in a kernel; what it is asked to show it keeps as text."""

    def __init__(self, fails=False):
        self.shown = []
        self.fails = fails
        self.kernel = self

    def get_ipython(self):
        return self

    def display(self, thing, display_id):
        assert display_id is True
        self.update(thing)
        return self

    def update(self, thing):
        if self.fails:
            raise OSError("no front end")
        self.shown.append(repr(thing))
        assert "<div" in thing._repr_html_()


@pytest.fixture
def kernel(monkeypatch):
    def install(**changes):
        kernel = Kernel(**changes)
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=kernel.get_ipython))
        monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=kernel.display))
        monkeypatch.setattr(notebook, "_EVERY_S", 3600)
        return kernel
    return install


def test_a_run_is_shown_from_its_start_to_its_end(kernel):
    front = kernel()
    with notebook.shown_progress(12) as take:
        assert front.shown == ["[--------------------] the servers start"]
        take({"event": "folder", "path": "/runs/x"})
        take({"event": "servers", "addresses": []})
        assert "the workers take the rows\nrun folder /runs/x" in front.shown[-1]
        take(PROGRESS)
        assert len(front.shown) == 3  # too soon after the last
        take({"event": "evaluation", "accuracy": 0.8921})
        assert front.shown[-1] == ("[#####---------------] epoch 3.0 of 12   12,640 images/s   loss 0.263"
                                   "   staleness 2.8   accuracy 89.2 %   0:30 left\nrun folder /runs/x")
        take({"event": "problem", "sentence": "worker 1 is gone\nits log"})
        assert "\n! worker 1 is gone\n" in front.shown[-1]
        take({**PROGRESS, "epoch": 12, "fraction": 1.0})
        take(SUMMARY)
    assert front.shown[-1].startswith("[####################] done, 12 epochs in 0:52   12,640 images/s   loss 0.263")


@pytest.mark.parametrize("error, state", [(RuntimeError("no"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_a_run_that_does_not_end_well_is_shown_as_it_ended(kernel, error, state):
    front = kernel()
    with pytest.raises(type(error)):
        with notebook.shown_progress(12) as take:
            take(PROGRESS)
            take({**SUMMARY, "result": "incomplete"})
            raise error
    assert front.shown[-1].startswith("[#####---------------] %s   epoch 3.0 of 12" % state)


def test_a_run_that_max_steps_ends_before_its_epochs(kernel):
    front = kernel()
    with notebook.shown_progress(12) as take:
        take({**PROGRESS, "epoch": 0.5, "epochs": 1.0417, "fraction": 0.48})
    assert front.shown[-1].startswith("[#########-----------] epoch 0.5 of 1   12,640 images/s")


def test_what_cannot_be_shown_stops_nothing(kernel, capsys):
    front = kernel(fails=True)
    with notebook.shown_progress(12) as take:
        take({"event": "progress"})
        take(SUMMARY)
    assert front.shown == []
    assert capsys.readouterr().err.count("progress cannot be shown") == 1


def test_nothing_is_shown_outside_of_a_notebook(kernel, monkeypatch):
    kernel().kernel = None
    with notebook.shown_progress(12) as take:
        assert take is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.in_notebook()


def test_a_run_as_text_and_as_html(tmp_path):
    text = report.text("TrainingResult", SUMMARY, "/runs/x")
    assert text.splitlines() == ["TrainingResult: done, 12 epochs in 0:52",
                                 "  12,640 images/s, loss 0.263, staleness 2.8, accuracy 89.2 %",
                                 "  run folder /runs/x"]
    assert "top-5 accuracy 89.2 %" in report.text("TrainingResult", {**SUMMARY, "top_k": 5}, "/runs/x")
    (tmp_path / "plot.png").write_bytes(b"image")
    told = {**SUMMARY, "result": "incomplete", "problems": ["<b>"], "epochs": 1.0, "accuracy": None}
    html = report.html_text("TrainingResult", told, str(tmp_path))
    assert "incomplete, 1 epoch in 0:52" in html and "&lt;b&gt;" in html and "accuracy" not in html.split("<img")[0]
    assert base64.b64encode(b"image").decode() in html
