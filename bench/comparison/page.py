"""The page: figures, tables and plots in one file that needs nothing else."""

import html
import json

from bench.comparison import plots, tables

# By a mode's place: a colour on light ground and on dark. They differ in lightness as well as in hue.
COLOURS = (
    ("#3366b0", "#7aa7ec"),
    ("#c9413b", "#f0827b"),
    ("#1e7f3c", "#5fc27d"),
    ("#a06a00", "#e0b13c"),
    ("#8a3fa0", "#cf93e2"),
    ("#007d91", "#4fc3d6"),
    ("#6b6f76", "#aab0b8"),
    ("#b0307c", "#ee86be"),
)
# The marks of plots.MARKS as paths around the origin.
SHAPES = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", "M-3.6,-3.6h7.2v7.2h-7.2z", "M0,-5 5,0 0,5 -5,0z", "M0,-5 5,3.5 -5,3.5z",
    "M0,5 5,-3.5 -5,-3.5z", "M0,-5 4.8,-1.5 2.9,4 -2.9,4 -4.8,-1.5z",
)

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--raised:#f6f7f9;--ink:#1c2026;--text:#555c66;--axis:#9aa1ab;
--grid:#e4e7eb;--rule:#dfe3e8;--bad:#b3261e;LIGHT}
@media (prefers-color-scheme:dark){:root{--ground:#14171b;--raised:#1c2026;--ink:#e7eaee;--text:#a4abb5;
--axis:#6a727d;--grid:#2a3038;--rule:#323943;--bad:#f2938c;DARK}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem clamp(1rem,3vw,2.5rem) 3rem;max-width:92rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.25rem;margin:2.4rem 0 .3rem}
p{max-width:48rem;margin:.4rem 0}.quiet{color:var(--text);font-size:.92rem}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.6rem 0 .2rem;padding:0;list-style:none;font-size:.95rem}
.mode{display:inline-flex;align-items:center;gap:.45em;white-space:nowrap}.mode svg{width:1.7em;height:.9em;flex:none}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1rem;margin:.6rem 0 1rem}
figure{margin:0;padding:.7rem .6rem .3rem;background:var(--raised);border-radius:.5rem}
figcaption{font-weight:600;font-size:.95rem;padding:0 .4rem .2rem}
figure svg{display:block;width:100%;height:auto}
figure text{font-family:inherit}
.wide{overflow-x:auto;margin:.6rem 0}
table{border-collapse:separate;border-spacing:0;font-size:.9rem;font-variant-numeric:tabular-nums;min-width:100%}
th,td{padding:.4rem .5rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
thead th{font-weight:600;color:var(--text);white-space:normal;vertical-align:bottom;min-width:5rem;line-height:1.25}
th:first-child{text-align:left;padding-left:.2rem;position:sticky;left:0;background:var(--ground)}
td i{color:var(--axis);font-style:normal;padding:0 .15em}
td.failed{text-align:left;color:var(--bad);white-space:normal}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem 2rem;margin:.8rem 0}
dt{font-weight:600}dd{margin:.1rem 0 0}
code{display:block;font:.88em ui-monospace,"SFMono-Regular",Menlo,Consolas,monospace;overflow-wrap:anywhere}
"""


def _style():
    def palette(theme):
        return "".join(f"--mode{place}:{colours[theme]};" for place, colours in enumerate(COLOURS))

    return STYLE.replace("LIGHT", palette(0)).replace("DARK", palette(1)).strip()


def mark(mode, place):
    """A mode's name behind its line and mark."""
    colour = f"var(--mode{place % len(COLOURS)})"
    shape = SHAPES[place % len(SHAPES)]
    return (f'<span class=mode><svg viewBox="-16 -8 32 16" aria-hidden=true><path d="M-16,0H16" stroke-width="3" '
            f'style="stroke:{colour}"/><path d="{shape}" style="fill:{colour}"/></svg>{html.escape(mode)}</span>')


def settings(section):
    """A section of a job as one line of YAML."""
    return ", ".join(f"{key}: {json.dumps(value) if not isinstance(value, str) else value}"
                     for key, value in section.items())


def caption(results):
    """What was run, in a sentence."""
    return (f"{results['title']}: {results['workers']} workers, {results['servers']} servers, batch {results['batch']}, "
            f"{results['epochs']} epochs of {results['samples']:,} images, the rate falling linearly to zero, seed "
            f"{results['seed']}. {results['date']}, {results['machine']}.")


def _case(results, places, case, floor):
    info = results["cases"][case]
    runs = [run for run in results["runs"] if run["case"] == case and run["result"] == "done" and run["series"]]
    text = f"<section id={case}><h2>{html.escape(info['title'])}</h2>"
    if info["slow_down"] > 1:
        text += (f"<p class=quiet>After each step the last worker sleeps until the step has taken {info['slow_down']:g} "
                 "times as long as its computation. Each worker still has its own share of the data and goes through "
                 "it as often as the others, as the partitions of a Spark job do. A ring marks where all but the slow "
                 "worker were done: from there on it is alone.</p>")
    if runs:
        text += "<ul class=legend>" + "".join(f"<li>{mark(run['mode'], places[run['mode']])}</li>" for run in runs)
        text += "</ul><div class=plots>"
        for against in plots.AGAINST:
            name = f"{case}_{against.key}"
            svg = plots.draw(runs, places, against, name, floor)
            text += (f"<figure><figcaption>{against.title}</figcaption>"
                     + svg.replace("<svg", f'<svg aria-label="held-out accuracy {against.title.lower()}"', 1)
                     + "</figure>")
        text += "</div>"
    header, rows = tables.work(results, case)
    return text + tables.as_html(header, rows, lambda mode: mark(mode, places[mode])) + "</section>"


def page(results):
    """The whole file. Raises plots.Missing where there is no gnuplot."""
    places = {mode: info["place"] for mode, info in results["modes"].items()}
    done = [run for run in results["runs"] if run["result"] == "done"]
    floor = plots.floor_of(done)
    text = ("<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
            '<meta name=viewport content="width=device-width,initial-scale=1">'
            f"<title>Sync modes compared</title><style>{_style()}</style></head><body>"
            f"<h1>Sync modes compared</h1><p>Held-out accuracy against time, samples and bytes.</p>"
            f"<p class=quiet>{html.escape(caption(results))}</p>")
    for case in results["cases"]:
        text += _case(results, places, case, floor)
    header, rows = tables.straggler(results)
    if rows:
        text += ("<section id=effect><h2>What the slow worker does</h2>"
                 + tables.as_html(header, rows, lambda mode: mark(mode, places[mode]))
                 + "<p class=quiet>Times to an accuracy, and the accuracy at a time, are read off the straight lines "
                 "between measurements.</p></section>")
    text += "<section id=settings><h2>Settings</h2><dl>"
    for mode, info in results["modes"].items():
        text += f"<div><dt>{mark(mode, places[mode])}</dt><dd>{html.escape(info['about'])}"
        for section in ("sync", "optimizer"):
            text += f"<code>{section}: {{{html.escape(settings(info[section]))}}}</code>"
        text += "</dd></div>"
    return text + "</dl></section></body></html>\n"
