"""What all of Downpour's estimators do: params make a job, training the job makes a model."""
from __future__ import annotations

import os
import tempfile

from pyspark import keyword_only
from pyspark.ml import Estimator

from ..errors import DataError
from ..supervisor import Job
from ..train import train
from .model import DownpourModel
from .params import DownpourParams, described
from .persistence import ParamsReadable, ParamsWritable
from .summary import TrainingSummary
from .trained_net import TrainedNet


class DownpourEstimator(Estimator, DownpourParams, ParamsWritable, ParamsReadable):
    """Trains a net on a DataFrame, by parameter servers and one worker for each partition. Subclasses say of what kind."""

    _LOSS: str       # the net's last layer, where `layers` makes the net
    _CLASSES: bool   # whether labels are classes
    _INSTEAD: str    # the estimator for the other kind of labels

    @keyword_only
    def setParams(self, **kwargs):
        """Sets any of the params."""
        return self._set(**self._input_kwargs)

    def __repr__(self) -> str:
        return described(self, {})

    def _make(self, net: TrainedNet) -> DownpourModel:
        raise NotImplementedError

    def _check(self, job: Job) -> None:
        """Refuses a job whose net is of the other kind, or does not score each class."""
        loss = job.resolved["net"][-1]["type"]
        if (job.classes > 0) != self._CLASSES:
            raise DataError("the job's net ends with %s, whose labels are %s: use %s" % (
                loss, "numbers" if self._CLASSES else "classes", self._INSTEAD))
        if self._CLASSES and (job.outputs != job.classes or loss == "contrastive_loss"):
            raise DataError("the job's net ends with %s and has no score for each class, by which a model tells them: "
                            "train it by downpour.train" % loss)

    def _fit(self, dataset) -> DownpourModel:
        with tempfile.TemporaryDirectory(prefix="downpour-") as folder:
            job = self._resolve_job(folder, self._LOSS)
            self._check(job)
            result = train(dataset, job, features_col=self._features_columns(), label_col=self.getLabelCol(),
                           weight_col=self._column(self.weightCol),
                           validation_indicator_col=self._column(self.validationIndicatorCol),
                           repartition_random_shuffle=self.getRepartitionRandomShuffle(),
                           servers=self.getServers())
        with open(os.path.join(result.run_dir, "model.safetensors"), "rb") as file:
            parameters = file.read()
        with open(os.path.join(result.run_dir, "job.yaml"), encoding="utf-8") as file:
            job_text = file.read()
        model = self._make(TrainedNet(job_text, parameters, job.classes, job.row_values))
        model._resetUid(self.uid)
        self._copyValues(model)
        model._summary = TrainingSummary.of(result)
        return model

    def _column(self, param):
        """The column that a param names; None where it names none, as in pyspark.ml."""
        return self.getOrDefault(param) or None if self.isDefined(param) else None
