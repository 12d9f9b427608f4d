"""Held-out accuracy against time, samples and bytes: SVG by gnuplot, to stand inside a page.

Colours are named in the page's style, so that they follow its light or dark theme: in gnuplot's script each stands as
a number, which is put back afterwards.
"""

import dataclasses
import math
import re
import subprocess


class Missing(Exception):
    """gnuplot is not there or drew nothing."""


@dataclasses.dataclass(frozen=True)
class Against:
    key: str
    title: str
    label: str
    scale: float
    logarithmic: bool = False

    def of(self, evaluation):
        if self.key == "bytes":
            return self.scale * (evaluation["bytes_to_servers"] + evaluation["bytes_from_servers"])
        return self.scale * evaluation[self.key]


AGAINST = (
    Against("seconds", "Against time", "seconds", 1),
    Against("samples", "Against samples", "thousand images, all workers", 1e-3),
    Against("bytes", "Against bytes", "GB exchanged with servers, logarithmic", 1e-9, logarithmic=True),
)
MARKS = (7, 5, 13, 9, 11, 15)  # gnuplot's point types: disc, square, diamond, triangle up and down, pentagon
STYLES = ("axis", "grid", "text")


def _rgb(index):
    return f"rgb '#{index:06x}'"


def colour_of(mode):
    """gnuplot's colour for the mode's place in the list."""
    return _rgb(0x100 + mode)


STYLE = {name: _rgb(0x200 + index) for index, name in enumerate(STYLES)}


def floor_of(runs):
    """Where the y axis begins, in percent: below all that is measured after the first quarter of a run."""
    low = []
    for run in runs:
        late = [e["accuracy"] for e in run["series"] if e["samples"] >= run["samples"] / 4]
        if late and run["accuracy"] > 0.5:
            low.append(min(late))
    return max(0, 5 * math.floor(100 * min(low) / 5 - 0.2)) if low else 0


def script(runs, places, against, name, floor):
    """gnuplot's commands for one plot; `places` gives each mode its place, and so its colour and mark."""
    text = ""
    for index, run in enumerate(runs):
        points = "".join(f"{against.of(e):.6g} {100 * e['accuracy']:.3f}\n" for e in run["series"])
        text += f"$run{index} << END\n{points}END\n"
        if run["fast"] and run["fast"]["accuracy"] is not None:
            text += f"$fast{index} << END\n{against.of(run['fast']):.6g} {100 * run['fast']['accuracy']:.3f}\nEND\n"
    text += (
        f"set terminal svg size 400,310 dynamic noenhanced font 'sans-serif,13' name '{name}'\n"
        f"set border 3 lc {STYLE['axis']}\nset tics nomirror scale 0.5 textcolor {STYLE['text']}\n"
        f"set grid ytics lt 1 lw 1 lc {STYLE['grid']}\nset format y '%g %%'\nset format x '%.0f'\n"
        f"set xlabel '{against.label}' textcolor {STYLE['text']} offset 0,0.3\nunset key\n"
        f"set yrange [{floor}:*]\nset lmargin 7\nset rmargin 2\nset tmargin 1\nset bmargin 3.2\n"
    )
    if against.logarithmic:
        low = min(against.of(e) for run in runs for e in run["series"])
        high = max(against.of(e) for run in runs for e in run["series"])
        ticks = [float(f"{n}e{power}") for power in range(-6, 7) for n in (1, 2, 5)]
        listed = ", ".join(f"'{tick:g}' {tick:g}" for tick in ticks if low / 1.5 <= tick <= high * 1.5)
        text += f"set logscale x\nset xrange [{low / 1.3:.6g}:{high * 1.15:.6g}]\nset xtics ({listed})\n"
    else:
        text += "set xrange [0:*]\nset xtics autofreq\n"
    lines = []
    for index, run in enumerate(runs):
        place = places[run["mode"]]
        colour = colour_of(place)
        lines.append(f"$run{index} using 1:2 with linespoints lw 2 pt {MARKS[place % len(MARKS)]} ps 0.45 lc {colour} "
                     f"title '{run['mode']}'")
    for index, run in enumerate(runs):
        if run["fast"] and run["fast"]["accuracy"] is not None:
            lines.append(f"$fast{index} using 1:2 with points pt 6 ps 1.5 lw 2 lc {colour_of(places[run['mode']])} "
                         f"title '{run['mode']}: fast workers done'")
    return text + "plot " + ", ".join(lines) + "\n"


def inline(svg, name):
    """gnuplot's SVG as an element of a page: colours as the page's variables, ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<desc>.*?</desc>|<filter.*?</filter>", "", svg, flags=re.S)
    svg = re.sub(r"<g [^>]*>\s*</g>\s*", "", svg)
    svg = svg.replace("gpPt", f"{name}-pt").replace("gpDot", f"{name}-dot").replace("gnuplot_canvas", f"{name}-canvas")

    def variable(number):
        if 0x200 <= number < 0x200 + len(STYLES):
            return f"var(--{STYLES[number - 0x200]})"
        return f"var(--mode{number - 0x100})" if 0x100 <= number < 0x200 else "currentColor"

    def replaced(found):
        red, green, blue = (int(part) for part in found.groups()[1:])
        return f'style="{found.group(1)}:{variable(red * 65536 + green * 256 + blue)}"'

    svg = re.sub(r"""\b(stroke|fill|color)=['"]rgb\(\s*(\d+),\s*(\d+),\s*(\d+)\)['"]""", replaced, svg)
    svg = re.sub(r'\bcolor="(black|white|gray)"', "", svg).replace('stroke="black"', 'stroke="currentColor"')
    svg = re.sub(r'<title>[^<]*</title>', "", svg, count=1)
    return svg.replace(' font-family="sans-serif"', "").replace("<svg", '<svg role="img"', 1)


def draw(runs, places, against, name, floor):
    """The plot as an <svg> element."""
    try:
        drawn = subprocess.run(
            ["gnuplot"], input=script(runs, places, against, name, floor), capture_output=True, text=True
        )
    except FileNotFoundError:
        raise Missing("gnuplot is not installed (Debian: gnuplot-nox)") from None
    if drawn.returncode != 0 or "</svg>" not in drawn.stdout:
        raise Missing(f"gnuplot drew nothing: {drawn.stderr.strip()[:300]}")
    return inline(drawn.stdout, name)
