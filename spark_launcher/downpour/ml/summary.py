"""What a fit left to look at."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from .. import report
from ..errors import FailedAttempt
from ..shim import Epoch, Measure, Result
from ..train import TrainingResult


class TrainingSummary(NamedTuple):
    """How training went, with one entry for each epoch in each history, the first 1000; None where nobody saw it.

    objectiveHistory: mean loss over all workers' rows. accuracyHistory: share of them that was right; None for numbers.
    validationObjectiveHistory, validationAccuracyHistory: the same of rows that are held out, each worker's own by the
    parameters it has at the epoch's end; empty where there are none. `accuracy` is by those that the model has.
    run_dir: the run's folder on the driver, with logs, plot and metrics. totals: what ps-run's summary.json says.
    failedAttempts: the tries at a partition that failed before others went on where they had got to.
    """
    objectiveHistory: List[Optional[float]]
    accuracyHistory: List[Optional[float]]
    validationObjectiveHistory: List[Optional[float]]
    validationAccuracyHistory: List[Optional[float]]
    run_dir: str
    totals: Dict[str, Any]
    failedAttempts: List[FailedAttempt] = []

    @classmethod
    def of(cls, result: TrainingResult) -> TrainingSummary:
        train = list(_over_workers(result.partitions, lambda epoch: epoch.train))
        held_out = list(_over_workers(result.partitions, lambda epoch: epoch.held_out))
        if not any(held_out):
            held_out = []
        histories = [[getattr(measure, field) if measure else None for measure in measures]
                     for measures in (train, held_out) for field in ("loss", "accuracy")]
        return cls(*histories, result.run_dir, result.summary, result.retries)

    @property
    def totalIterations(self) -> int:
        """Epochs, as in pyspark.ml."""
        return len(self.objectiveHistory)

    @property
    def accuracy(self) -> Optional[float]:
        """On held-out rows, at the end; None where there are none."""
        return self.totals.get("accuracy")

    @property
    def samplesPerSecond(self) -> Optional[float]:
        """Of all workers together."""
        return self.totals.get("images_per_second")

    @property
    def staleness(self) -> Optional[float]:
        """Updates by others that came between fetching parameters and pushing a gradient made from them, in the mean."""
        return self.totals.get("mean_staleness")

    def __repr__(self) -> str:
        return report.text("TrainingSummary", self.totals, self.run_dir)

    def _repr_html_(self) -> str:
        return report.html_text("TrainingSummary", self.totals, self.run_dir)


def _over_workers(results: Iterable[Result], of: Callable[[Epoch], Optional[Measure]]) -> Iterable[Optional[Measure]]:
    """For each epoch that all partitions have seen, the mean over what of(epoch) knows."""
    for epochs in zip(*(result.epochs for result in results if result.samples)):
        known = [measure for measure in map(of, epochs) if measure is not None and measure.loss is not None]
        weight = sum(measure.weight for measure in known)
        if weight == 0:
            yield None
            continue
        def mean(field):
            if any(getattr(measure, field) is None for measure in known):
                return None
            return sum(measure.weight * getattr(measure, field) for measure in known) / weight
        yield Measure(mean("loss"), mean("accuracy"), weight)
