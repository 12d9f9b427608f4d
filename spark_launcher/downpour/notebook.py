"""Progress of a run in a Jupyter notebook: a bar and a line below the cell that trains.

Elsewhere ps-run writes to the standard output, which a notebook shows as a growing heap of lines, or not at all.
"""
from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

from . import report

_EVERY_S = 0.25  # between two updates of what is shown
_BAR_CHARACTERS = 20
_COLOURS = {"failed": "#c4314b", "stopped": "#b8860b", "incomplete": "#b8860b", "done": "#2e8b57"}


@contextlib.contextmanager
def shown_progress(epochs: float) -> Iterator[Optional[Callable[[Dict[str, Any]], None]]]:
    """Shows a run's progress while the context lasts; gives what takes ps-run's events. None outside of a notebook.

    Events may come from any thread. What goes wrong in showing them ends the showing, never the training.
    """
    if not in_notebook():
        yield None
        return
    display = _Display(RunProgress(epochs))
    display.show()
    try:
        yield display.take
    except BaseException as error:
        display.progress.end(error)
        raise
    finally:
        display.show()


def in_notebook() -> bool:
    """Whether this is a kernel of Jupyter, which shows rich output."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


class RunProgress:
    """How far a run is, by its events. Not for two threads at once.

    Attributes:
      state: "starting", "training", "ending", and at last "done", "incomplete", "failed" or "stopped".
      fraction: of the whole, 0 to 1.
    """

    def __init__(self, epochs: float):
        self.state = "starting"
        self.fraction = 0.0
        self._epochs = epochs
        self._words = "the servers start"
        self._last: Dict[str, Any] = {}
        self._problems: List[str] = []
        self._summary: Optional[Dict[str, Any]] = None
        self._run_dir = ""

    def take(self, event: Dict[str, Any]) -> None:
        """One of ps-run's events. Those that are not known say nothing here."""
        name = event.get("event")
        if name == "folder":
            self._run_dir = event["path"]
        elif name == "servers":
            self._words = "the servers listen, the workers take the rows"
        elif name == "progress":
            self.state, self.fraction, self._epochs = "training", event["fraction"], event["epochs"]
            self._last.update(event)
            if self.fraction >= 1:
                self.state, self._words = "ending", "the held-out accuracy is measured, the model is written"
        elif name == "evaluation":
            self._last.update(accuracy=event["accuracy"], top_k=event.get("top_k"))
        elif name == "problem":
            self._problems.append(event["sentence"].splitlines()[0])
        elif name == "failed":
            self._problems.append(event["reason"])
        elif name == "summary":
            self._summary, self.state = event, event["result"]
            self.fraction = 1.0 if self.state == "done" else self.fraction

    def end(self, error: BaseException) -> None:
        """The run did not end well. The error itself is for others to show."""
        self.state = "failed" if isinstance(error, Exception) else "stopped"

    def line(self) -> str:
        """What the bar stands for, in one line."""
        if self._summary is not None and self.state == self._summary["result"]:
            return "   ".join([report.outcome(self._summary), *report.figures(self._summary)])
        if self.state == "starting":
            return self._words
        parts = ["epoch %.1f of %g" % (self._last.get("epoch", 0), round(self._epochs, 1)), *report.figures(self._last)]
        if self.state == "training" and self.fraction > 0.01:
            parts.append(report.duration(self._last["seconds"] * (1 - self.fraction) / self.fraction) + " left")
        elif self.state != "training":
            parts.insert(0, self._words if self.state == "ending" else self.state)
        return "   ".join(parts)

    def __repr__(self) -> str:
        filled = int(self.fraction * _BAR_CHARACTERS)
        bar = "[%s] %s" % ("#" * filled + "-" * (_BAR_CHARACTERS - filled), self.line())
        return "\n".join([bar, *("! " + sentence for sentence in self._problems), *self._folder()])

    def _repr_html_(self) -> str:
        colour = _COLOURS.get(self.state, "#3273c4")
        bar = ('<div style="background:rgba(128,128,128,0.25);border-radius:3px;height:8px;max-width:640px;margin:6px 0">'
               '<div style="background:%s;border-radius:3px;height:8px;width:%.1f%%"></div></div>'
               % (colour, 100 * self.fraction))
        folder = [report.paragraph(line, "opacity:0.75;margin:2px 0") for line in self._folder()]
        return "<div>%s</div>" % "".join([bar, report.paragraph(self.line()), *map(report.problem, self._problems), *folder])

    def _folder(self) -> List[str]:
        return ["run folder " + self._run_dir] if self._run_dir else []


class _Display:
    """Shows a RunProgress in the notebook, no more often than each _EVERY_S. For any thread."""

    def __init__(self, progress: RunProgress):
        self.progress = progress
        self._lock = threading.Lock()
        self._handle = None
        self._shown = 0.0
        self._broken = False

    def take(self, event: Dict[str, Any]) -> None:
        with self._lock, self._kept_apart():
            self.progress.take(event)
            if event.get("event") != "progress" or time.monotonic() - self._shown > _EVERY_S:
                self._show()

    def show(self) -> None:
        with self._lock, self._kept_apart():
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._broken:
            return
        if self._handle is None:
            from IPython.display import display
            self._handle = display(self.progress, display_id=True)
        else:
            self._handle.update(self.progress)

    @contextlib.contextmanager
    def _kept_apart(self) -> Iterator[None]:
        """Lets no error of a front end reach the training."""
        try:
            yield
        except Exception as error:
            if not self._broken:
                print("downpour: progress cannot be shown: %s" % error, file=sys.stderr)
            self._broken = True
