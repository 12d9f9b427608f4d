"""From what ps-run leaves to the figures that are shown. Pure functions on plain data."""

POINTS = 4  # at which the work is cut: the talk's tables have four columns


def evaluations(events):
    """The held-out measurements of a run, oldest first, as dictionaries of numbers."""
    keys = ("seconds", "epoch", "samples", "accuracy", "bytes_to_servers", "bytes_from_servers")
    return [{key: event[key] for key in keys} for event in events if event.get("event") == "evaluation"]


def quarters(series, total_samples):
    """The measurement nearest to each quarter of the work; None where the run did not get near it."""
    found = []
    for quarter in range(1, POINTS + 1):
        wanted = total_samples * quarter / POINTS
        nearest = min(series, key=lambda e: abs(e["samples"] - wanted), default=None)
        near = nearest is not None and abs(nearest["samples"] - wanted) <= total_samples / POINTS / 2
        found.append(nearest if near else None)
    return found


def _between(left, right, key, value):
    span = right[key] - left[key]
    return 0 if span <= 0 else (value - left[key]) / span


def at_second(series, second, key):
    """`key` at a time, on the straight line between the measurements around it; None before the first."""
    for left, right in zip(series, series[1:]):
        if left["seconds"] <= second <= right["seconds"]:
            return left[key] + _between(left, right, "seconds", second) * (right[key] - left[key])
    if series and second >= series[-1]["seconds"]:
        return series[-1][key]
    return None


def seconds_to(series, accuracy):
    """When the accuracy was first reached, likewise; None where it was not."""
    if series and series[0]["accuracy"] >= accuracy:
        return series[0]["seconds"]
    for left, right in zip(series, series[1:]):
        if right["accuracy"] >= accuracy:
            return left["seconds"] + _between(left, right, "accuracy", accuracy) * (right["seconds"] - left["seconds"])
    return None


def fast_done(summary, slow_partition):
    """The second at which all workers but the slow one were done; None where one of them was not."""
    seconds = [worker["seconds"] for worker in summary["workers"] if worker["partition"] != slow_partition]
    return None if not seconds or None in seconds else max(seconds)


def target(finals):
    """An accuracy to be reached: whole percents, at least one below the worst end of the modes that learnt at all."""
    learnt = [final for final in finals if final > max(finals) / 2]
    return int(100 * min(learnt) - 1 + 1e-9) / 100 if learnt else None


def least_learnt(finals, classes):
    """The accuracy that a run has to pass, or it has collapsed: half of the best, and what guessing gives."""
    return max([final / 2 for final in finals] + [1.05 / classes])


def of_run(events, summary, total_samples, slow_partition=None):
    """One run's figures, but for those that depend on other runs."""
    series = evaluations(events)
    figures = {
        "seconds": summary["seconds"],
        "samples": summary["samples"],
        "images_per_second": summary["images_per_second"],
        "accuracy": series[-1]["accuracy"] if series else None,
        "staleness": summary["mean_staleness"],
        "bytes_to_servers": summary["bytes_to_servers"],
        "bytes_from_servers": summary["bytes_from_servers"],
        "quarters": quarters(series, total_samples),
        "series": series,
        "fast": None,
    }
    if slow_partition is not None:
        done = fast_done(summary, slow_partition)
        if done is not None:
            keys = ("accuracy", "samples", "bytes_to_servers", "bytes_from_servers")
            figures["fast"] = {"seconds": done, **{key: at_second(series, done, key) for key in keys}}
    return figures
