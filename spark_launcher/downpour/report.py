"""What a run came to, in words and as HTML for notebooks."""
from __future__ import annotations

import base64
import html
import os
from typing import Any, List, Mapping, Optional

_PLOT_BYTES = 512 << 10  # a larger plot is not put into a notebook
_TITLE = "font-weight:600;margin:0 0 2px 0"
_SMALL = "opacity:0.75;margin:2px 0"
_PROBLEM = "color:#c4314b;margin:2px 0"


def count(value: float) -> str:
    return "{:,.0f}".format(value)


def loss(value: float) -> str:
    return "loss " + ("{:.3f}" if abs(value) < 1e4 else "{:.3g}").format(value)


def duration(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any: 0:52, 1:02:03."""
    minutes, rest = divmod(int(round(max(0.0, seconds))), 60)
    hours, minutes = divmod(minutes, 60)
    return "%d:%02d:%02d" % (hours, minutes, rest) if hours else "%d:%02d" % (minutes, rest)


def figures(values: Mapping[str, Any]) -> List[str]:
    """What a summary or an event of ps-run says of speed and quality, each with its name and unit; no speed that is 0 yet."""
    top_k = values.get("top_k") or 1
    forms = (("images_per_second", lambda rate: count(rate) + " images/s"), ("loss", loss),
             ("training_loss", loss), ("staleness", "staleness {:.1f}".format),
             ("mean_staleness", "staleness {:.1f}".format),
             ("accuracy", lambda part: "%saccuracy %.1f %%" % ("top-%d " % top_k if top_k > 1 else "", 100 * part)))
    return [form(values[name]) for name, form in forms
            if values.get(name) is not None and (values[name] or name != "images_per_second")]


def outcome(summary: Mapping[str, Any]) -> str:
    """A run's result, its length and its time: "done, 12 epochs in 0:52"."""
    epochs = summary.get("epochs") or 0
    return "%s, %g epoch%s in %s" % (summary.get("result", "not ended"), round(epochs, 1), "" if epochs == 1 else "s",
                                     duration(summary.get("seconds") or 0))


def text(title: str, summary: Mapping[str, Any], run_dir: str) -> str:
    """A run in a few lines."""
    lines = ["%s: %s" % (title, outcome(summary)), ", ".join(figures(summary)), *_problems(summary), "run folder " + run_dir]
    return "\n  ".join(filter(None, lines))


def html_text(title: str, summary: Mapping[str, Any], run_dir: str) -> str:
    """The same as HTML, with the run's plot if it is there."""
    lines = [paragraph("%s: %s" % (title, outcome(summary)), _TITLE), paragraph("   ".join(figures(summary)))]
    lines += [problem(sentence) for sentence in _problems(summary)]
    lines += [paragraph("run folder " + run_dir, _SMALL), _plot(run_dir)]
    return "<div>%s</div>" % "".join(lines)


def paragraph(words: str, style: str = "margin:2px 0") -> str:
    """One line of HTML, in which spaces are kept. Nothing where there are no words."""
    return '<div style="%s;white-space:pre-wrap">%s</div>' % (style, html.escape(words)) if words else ""


def problem(sentence: str) -> str:
    return paragraph("! " + sentence, _PROBLEM)


def _problems(summary: Mapping[str, Any]) -> List[str]:
    return [str(sentence).splitlines()[0] for sentence in summary.get("problems", ()) if sentence]


def _plot(run_dir: str) -> str:
    """The run's plot as an image that needs no file; nothing where there is none."""
    data: Optional[bytes] = None
    try:
        path = os.path.join(run_dir, "plot.png")
        if os.path.getsize(path) <= _PLOT_BYTES:
            with open(path, "rb") as file:
                data = file.read()
    except OSError:
        pass
    if not data:
        return ""
    return ('<img alt="loss and accuracy of the run" style="max-width:640px;width:100%%" src="data:image/png;base64,%s">'
            % base64.b64encode(data).decode("ascii"))
