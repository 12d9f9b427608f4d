"""What a fit left to look at."""
from __future__ import annotations

from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from ..shim import Result


class TrainingSummary(NamedTuple):
    """How training went.

    objectiveHistory: mean loss of each epoch over all workers, the first 1000. run_dir: the run's folder on the driver, with
    logs, plot and metrics. totals: what ps-run's summary.json says, among it images_per_second and mean_staleness.
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


def epoch_means(results: Iterable[Result]) -> List[float]:
    """The mean loss of each epoch over all rows, as far as all partitions have seen it."""
    trained = [result for result in results if result.samples]
    means = []
    for losses in zip(*(result.epoch_losses for result in trained)):
        known = [(result.samples, loss) for result, loss in zip(trained, losses) if loss is not None]
        if known:
            means.append(sum(samples * loss for samples, loss in known) / sum(samples for samples, _ in known))
    return means
