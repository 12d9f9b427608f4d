"""Runs one job through ps-run and reads what it says while it runs."""

import json
import pathlib
import subprocess

LONGEST_REASON = 300


class Failed(Exception):
    """A job that did not run to its end; its text is one sentence."""


def _reason(events, errors, status):
    for event in events:
        if event["event"] == "failed":
            return event["reason"]
        if event["event"] == "problem":
            return event["sentence"]
    for line in errors.splitlines():
        if line.strip():
            return line.strip()
    return f"ps-run ended with status {status} and said nothing"


def flags(settings):
    """{"sync.n_push": 10} as ps-run's --set. JSON is YAML."""
    return [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def check(ps_run, job, arguments):
    """The job as ps-run resolves it."""
    result = subprocess.run([ps_run, "--check", "--json", job, *arguments], capture_output=True, text=True)
    try:
        answer = json.loads(result.stdout)
    except ValueError:
        raise Failed(_reason([], result.stderr, result.returncode)) from None
    if not answer["ok"]:
        raise Failed(answer["error"])
    return answer["job"]


def run(ps_run, job, arguments, folder, on_event):
    """All events of a run, the summary last. `on_event` gets each as it comes."""
    events = []
    errors = pathlib.Path(f"{folder}.stderr")
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [ps_run, job, "--json", "--run-dir", folder, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        try:
            for line in process.stdout:
                events.append(json.loads(line))
                on_event(events[-1])
        finally:
            # Where the loop was left early ps-run is told to stop, and stops its own.
            if process.poll() is None:
                process.terminate()
            process.wait()
            process.stdout.close()
    said = errors.read_text()
    errors.unlink()
    for name in ("model.safetensors", "plot.png"):
        (pathlib.Path(folder) / name).unlink(missing_ok=True)
    if process.returncode != 0 or not events or events[-1].get("result") != "done":
        raise Failed(" ".join(_reason(events, said, process.returncode).split())[:LONGEST_REASON])
    return events
