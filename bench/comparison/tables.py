"""The figures as rows of text, and these as a table on a terminal, in Markdown or in HTML."""

import html

NOTHING = "-"
COLLAPSED = " collapsed"  # behind an accuracy that is no better than a guess


def each(values, form):
    """The four points in one cell."""
    return " / ".join(NOTHING if value is None else format(value, form) for value in values)


def one(value, form, factor=1):
    return NOTHING if value is None else format(value * factor, form)


def _mark(run):
    return COLLAPSED if run.get("collapsed") else ""


def _points(run, key, factor=1):
    return [None if point is None else point[key] * factor for point in run["quarters"]]


def work(results, case):
    """The talk's table: what was done at the four points, how long it took, what came of it."""
    header = ["mode", "epochs", "iterations", "seconds", "accuracy, %", "images/s", "MB to servers",
              "MB from servers", "staleness"]
    rows = []
    for run in results["runs"]:
        if run["case"] != case:
            continue
        if run["result"] != "done":
            rows.append([run["mode"], f"failed: {run['reason']}"])
            continue
        rows.append([
            run["mode"],
            each(_points(run, "epoch"), ".1f"),
            each(_points(run, "epoch", results["steps_per_epoch"]), ",.0f"),
            each(_points(run, "seconds"), ",.0f"),
            each(_points(run, "accuracy", 100), ".1f") + _mark(run),
            one(run["images_per_second"], ",.0f"),
            one(run["bytes_to_servers"], ",.0f", 1e-6),
            one(run["bytes_from_servers"], ",.0f", 1e-6),
            one(run["staleness"], ".1f"),
        ])
    return header, rows


def straggler(results):
    """What the slow worker does to each mode."""
    percent = one(results["target"], ".0f", 100)
    header = ["mode", "seconds, alike", "with straggler", "ratio", "fast workers done", "accuracy then, %",
              "accuracy at the end, %", f"seconds to {percent}\u00a0%, alike", "with straggler", "ratio"]
    rows = []
    for mode in results["modes"]:
        pair = [find(results, mode, case) for case in ("alike", "straggler")]
        if None in pair or any(run["result"] != "done" for run in pair):
            continue
        alike, slow = pair
        fast = slow["fast"] or {}
        rows.append([
            mode,
            one(alike["seconds"], ",.0f"),
            one(slow["seconds"], ",.0f"),
            ratio(slow["seconds"], alike["seconds"]),
            one(fast.get("seconds"), ",.0f"),
            one(fast.get("accuracy"), ".1f", 100),
            one(slow["accuracy"], ".1f", 100) + _mark(slow),
            one(alike["seconds_to_target"], ",.0f"),
            one(slow["seconds_to_target"], ",.0f"),
            ratio(slow["seconds_to_target"], alike["seconds_to_target"]),
        ])
    return header, rows


def find(results, mode, case):
    return next((run for run in results["runs"] if (run["mode"], run["case"]) == (mode, case)), None)


def ratio(value, of):
    return NOTHING if value is None or not of else f"{value / of:.2f}"


def _whole(header, row):
    return len(row) == len(header)


def as_text(header, rows):
    whole = [header, *(row for row in rows if _whole(header, row))]
    widths = [max(len(row[i]) for row in whole) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        if not _whole(header, row):
            lines.append(f"{row[0]:{widths[0]}}  {row[1]}")
            continue
        cells = [f"{row[0]:{widths[0]}}"] + [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def as_markdown(header, rows):
    def line(cells):
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    text = line(header) + "|" + "---|" * len(header) + "\n"
    for row in rows:
        text += line(row + [""] * (len(header) - len(row)))
    return text


def as_html(header, rows, mark=str):
    """`mark` gives the HTML of a mode's name, which is each row's first cell."""
    text = "<div class=wide><table><thead><tr>"
    text += "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in header) + "</tr></thead><tbody>"
    for row in rows:
        cells = [html.escape(cell).replace(" / ", "<i>/</i>") for cell in row[1:]]
        span = f" class=failed colspan={len(header) - 1}" if not _whole(header, row) else ""
        text += f"<tr><th scope=row>{mark(row[0])}</th>" + "".join(f"<td{span}>{cell}</td>" for cell in cells) + "</tr>"
    return text + "</tbody></table></div>"
