"""DownpourClassifier and its model."""
from __future__ import annotations

import math
from typing import Any, Dict, List, Optional

from pyspark import keyword_only
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import DenseVector, Vector
from pyspark.ml.param.shared import HasProbabilityCol, HasRawPredictionCol, HasThresholds

from ..errors import DataError
from .estimator import DownpourEstimator
from .model import DownpourModel
from .scoring import classify, likeliest, softmax
from .trained_net import TrainedNet


class _ClassifierParams(HasProbabilityCol, HasRawPredictionCol, HasThresholds):
    """What classifier and model have besides DownpourParams."""

    def setProbabilityCol(self, value: str):
        return self._set(probabilityCol=value)

    def setRawPredictionCol(self, value: str):
        return self._set(rawPredictionCol=value)

    def setThresholds(self, value: List[float]):
        return self._set(thresholds=value)

    def _thresholds_for(self, classes: int) -> Optional[List[float]]:
        if not self.isDefined(self.thresholds):
            return None
        thresholds = self.getThresholds()
        if len(thresholds) != classes or not all(0 <= value < math.inf for value in thresholds) or sum(value == 0 for value in thresholds) > 1:
            raise DataError("thresholds should be one for each of the %d classes, at least 0 and at most one of them 0; they"
                            " are %s" % (classes, thresholds))
        return thresholds


class DownpourClassifier(DownpourEstimator, _ClassifierParams):
    """Trains a net for classes on a DataFrame, by parameter servers and one worker for each partition.

        classifier = DownpourClassifier(layers=[20, 64, 3], maxIter=10, numWorkers=2)
        model = classifier.fit(df)              # columns `features` and `label`
        model.transform(df).select("prediction", "probability")

    featuresCol is of vectors, arrays of numbers or bytes, one a value; or featuresCols lists columns of numbers. labelCol
    counts classes from 0. A row of weightCol 2 counts as two. Rows of which validationIndicatorCol is true are not trained
    on but measured after each epoch. The net is `layers`, as in MultilayerPerceptronClassifier but with ReLU, or that of a
    `job`. Raises DataError for columns that cannot be trained on, WorkerFailed for rows that cannot, and it or
    TrainingFailed for what else may go wrong.
    """

    __module__ = "downpour.ml"  # as users import it; saved metadata say so, and Scala's class has the same name
    _LOSS, _CLASSES, _INSTEAD = "softmax_loss", True, "DownpourRegressor"

    @keyword_only
    def __init__(self, *, featuresCol: str = "features", labelCol: str = "label", predictionCol: str = "prediction",
                 probabilityCol: str = "probability", rawPredictionCol: str = "rawPrediction",
                 weightCol: Optional[str] = None, validationIndicatorCol: Optional[str] = None,
                 thresholds: Optional[List[float]] = None, featuresCols: Optional[List[str]] = None,
                 job: Optional[str] = None, layers: Optional[List[int]] = None, numWorkers: Optional[int] = None,
                 syncMode: Optional[str] = None, maxIter: Optional[int] = None, batchSize: Optional[int] = None,
                 stepSize: Optional[float] = None, seed: Optional[int] = None,
                 settings: Optional[Dict[str, Any]] = None, repartitionRandomShuffle: bool = True,
                 servers: Optional[str] = None, runDir: Optional[str] = None):
        super().__init__()
        self._set(**{name: value for name, value in self._input_kwargs.items() if value is not None})

    def _check(self, job) -> None:
        super()._check(job)
        self._thresholds_for(job.classes)

    def _make(self, net: TrainedNet) -> DownpourClassificationModel:
        return DownpourClassificationModel(net)


class DownpourClassificationModel(DownpourModel, _ClassifierParams):
    """A trained net for classes. Made by DownpourClassifier.fit, or DownpourClassificationModel.load."""

    __module__ = "downpour.ml"

    @property
    def numClasses(self) -> int:
        return self._net.num_classes

    def predictRaw(self, value: Vector) -> DenseVector:
        """Scores of the classes for one row."""
        return DenseVector(self._outputs(value))

    def predictProbability(self, value: Vector) -> DenseVector:
        return DenseVector(softmax(self._outputs(value)[None])[0])

    def predict(self, value: Vector) -> float:
        return float(likeliest(self.predictProbability(value).toArray()[None], self._thresholds_for(self.numClasses))[0])

    def _transform(self, dataset):
        fields = [(self.getRawPredictionCol(), "raw", array_to_vector),
                  (self.getProbabilityCol(), "probability", array_to_vector),
                  (self.getPredictionCol(), "prediction", None)]
        return self._with(dataset, classify(self._net, self._thresholds_for(self.numClasses)), fields)
