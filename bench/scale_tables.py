"""The figures of bench/scale as text, and as a plot by gnuplot."""

import subprocess

OF_THE_RUN = ("mode", "workers", "seed", "steps", "warmup-steps")
COLOURS = {"bsp": "#3b6fb6", "ssp": "#d9822b", "downpour": "#3d8f5f", "asp": "#a23b72", "local_sgd": "#6b5b95",
           "easgd": "#8a6d3b"}


class Missing(Exception):
    """gnuplot is not there or drew nothing."""


def columns():
    """Title, width and text of each column after the mode."""
    def spread(figures, key, form, *names):
        return " / ".join(form.format(figures[key][name]) for name in names)

    return (
        ("of ideal", 9, lambda f: f"{100 * f['of_ideal']:.1f} %"),
        ("updates/s", 10, lambda f: f"{f['updates_per_second']:,.1f}"),
        ("gradients/s", 12, lambda f: f"{f['gradients_per_second']:,.1f}"),
        ("staleness mean/p99/max", 23, lambda f: spread(f, "staleness", "{:,.0f}", "mean", "p99", "max")),
        ("lead mean/max", 14, lambda f: spread(f, "lead", "{:.1f}", "mean", "max")),
        ("waiting", 8, lambda f: f"{100 * f['waiting']:.0f} %"),
        ("push ms p50/p99", 16, lambda f: spread(f, "push_ms", "{:,.0f}", "p50", "p99")),
        ("apply ms p50/p99", 17, lambda f: spread(f, "apply_ms", "{:,.1f}", "p50", "p99")),
        ("MB/step", 8, lambda f: f"{f['bytes_per_step'] / 1e6:.1f}"),
        ("links in/out", 13, lambda f: f"{100 * f['servers_in']['max']:.0f} / {100 * f['servers_out']['max']:.0f} %"),
        ("shards", 7, lambda f: f"{100 * f['shards']['max']:.0f} %"),
        ("held GB", 8, lambda f: f"{f['held_bytes'] / 1e9:.2f}"),
        ("refused", 8, lambda f: f"{sum(f['account']['refused'].values()):,}"),
    )


def table(runs):
    rows = [["", *(title for title, _, _ in columns())]]
    rows += [[run["mode"], *(text(run["figures"]) for _, _, text in columns())] for run in runs]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(row[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in
                                                        zip(row[1:], widths[1:])) for row in rows)


def tables(results):
    text = ""
    for workers in dict.fromkeys(run["workers"] for run in results["runs"]):
        runs = [run for run in results["runs"] if run["workers"] == workers]
        seconds = max(run["figures"]["begin_seconds"] for run in runs)
        text += f"\n{workers:,} workers, of whom the last had taken its first step after {seconds:.1f} s\n{table(runs)}\n"
    return text


def assumptions(results):
    """All that was assumed, a line for each kind."""
    flags = results["runs"][0]["flags"]
    kinds = {"model and servers": ("parameters", "servers", "shards", "stands-for", "batch", "push-bytes", "pull-bytes",
                                   "set"),
             "computation": ("compute-ms", "compute-sigma", "slow-share", "slow-factor", "pauses-per-hour", "pause-ms",
                             "join-ms"),
             "links": ("worker-gbps", "worker-least", "server-gbps", "payload-share", "latency-us"),
             "a shard": ("frame-us", "answer-us", "check-rate", "apply-rate", "sum-rate", "copy-rate")}
    named = {key for keys in kinds.values() for key in keys}
    kinds["besides"] = tuple(key for key in flags if key not in named and key not in OF_THE_RUN)
    lines = [f"{kind}: " + ", ".join(f"{key} {flags[key]}" for key in keys) for kind, keys in kinds.items() if keys]
    if "measured" in results:
        lines.append("a shard of this machine: " +
                     ", ".join(f"{key.replace('_', '-')} {rate:.1f}" for key, rate in results["measured"].items()))
    return "\n".join(lines)


def script(results):
    """gnuplot's commands: share of the ideal, and staleness, against workers."""
    modes = list(dict.fromkeys(run["mode"] for run in results["runs"]))
    text = ("set terminal svg size 820,320 noenhanced font 'sans-serif,13' background '#ffffff'\n"
            "set multiplot layout 1,2\nset logscale x\nset grid ytics lc '#dddddd'\nset border 3\nset tics nomirror\n"
            "set xlabel 'workers'\nset format x '%.0f'\n")
    for index, mode in enumerate(modes):
        points = "".join(f"{run['workers']} {100 * run['figures']['of_ideal']:.6g} "
                         f"{run['figures']['staleness']['mean']:.6g} {run['figures']['staleness']['p99']:.6g}\n"
                         for run in results["runs"] if run["mode"] == mode)
        text += f"$mode{index} << END\n{points}END\n"

    def lines(column):
        return ", ".join(f"$mode{index} using 1:{column} with linespoints lw 2 pt 7 ps 0.5 lc "
                         f"'{COLOURS.get(mode, '#555555')}' title '{mode}'" for index, mode in enumerate(modes))

    text += "set title 'Steps, share of the ideal'\nset yrange [0:105]\nset format y '%g %%'\nset key bottom left\n"
    text += f"plot {lines(2)}\n"
    text += "set title 'Mean staleness, updates + 1'\nset logscale y\nset yrange [*:*]\nset format y '%.0f'\n"
    text += "set key top left\n"
    return text + "plot " + lines("($3+1)") + "\nunset multiplot\n"


def draw(results):
    """The plot as SVG."""
    try:
        drawn = subprocess.run(["gnuplot"], input=script(results), capture_output=True, text=True)
    except FileNotFoundError:
        raise Missing("gnuplot is not installed (Debian: gnuplot-nox)") from None
    if drawn.returncode != 0 or "</svg>" not in drawn.stdout:
        raise Missing(f"gnuplot drew nothing: {drawn.stderr.strip()[:300]}")
    return drawn.stdout
