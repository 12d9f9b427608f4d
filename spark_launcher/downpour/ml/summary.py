"""What a fit left to look at."""
from __future__ import annotations

import json
import os
from typing import Any, Dict, List, NamedTuple, Optional


class TrainingSummary(NamedTuple):
    """How training went.

    objectiveHistory: mean loss as it was at the end of each epoch. run_dir: the run's folder on the driver, with logs, plot
    and metrics. totals: what ps-run's summary.json says, among it images_per_second and mean_staleness.
    """
    objectiveHistory: List[float]
    run_dir: str
    totals: Dict[str, Any]

    @property
    def totalIterations(self) -> int:
        """Epochs, as in pyspark.ml."""
        return len(self.objectiveHistory)

    @property
    def accuracy(self) -> Optional[float]:
        """On held-out rows; None where the job has none."""
        return self.totals.get("accuracy")


def read_summary(run_dir: str, epochs: int) -> TrainingSummary:
    """The summary of a run that has ended."""
    with open(os.path.join(run_dir, "summary.json"), encoding="utf-8") as file:
        totals = json.load(file)
    points = []
    with open(os.path.join(run_dir, "metrics.jsonl"), encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            if event.get("event") == "progress" and event.get("loss") is not None:
                points.append((event["epoch"], event["loss"]))
    history = []
    for epoch in range(1, epochs + 1):
        upto = [loss for at, loss in points if at <= epoch]
        if upto:
            history.append(upto[-1])
    return TrainingSummary(history, run_dir, totals)
