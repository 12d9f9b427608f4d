"""DownpourRegressor and its model."""
from __future__ import annotations

from typing import Any, Dict, List, Optional

from pyspark import keyword_only
from pyspark.ml.linalg import Vector

from .estimator import DownpourEstimator
from .model import DownpourModel
from .scoring import regress
from .trained_net import TrainedNet


class DownpourRegressor(DownpourEstimator):
    """Trains a net for numbers on a DataFrame, by parameter servers and one worker for each partition.

        regressor = DownpourRegressor(layers=[20, 64, 1], maxIter=10, numWorkers=2)
        model = regressor.fit(df)               # columns `features` and `label`
        model.transform(df).select("prediction")

    Minimises half the squared error. Labels far from 0 and 1 are best scaled first. All else as in DownpourClassifier.
    """

    __module__ = "downpour.ml"
    _LOSS, _CLASSES, _INSTEAD = "euclidean_loss", False, "DownpourClassifier"

    @keyword_only
    def __init__(self, *, featuresCol: str = "features", labelCol: str = "label", predictionCol: str = "prediction",
                 weightCol: Optional[str] = None, validationIndicatorCol: Optional[str] = None,
                 featuresCols: Optional[List[str]] = None, job: Optional[str] = None,
                 layers: Optional[List[int]] = None, numWorkers: Optional[int] = None, syncMode: Optional[str] = None,
                 maxIter: Optional[int] = None, batchSize: Optional[int] = None, stepSize: Optional[float] = None,
                 seed: Optional[int] = None, settings: Optional[Dict[str, Any]] = None,
                 repartitionRandomShuffle: bool = True, servers: Optional[str] = None, runDir: Optional[str] = None):
        super().__init__()
        self._set(**{name: value for name, value in self._input_kwargs.items() if value is not None})

    def _make(self, net: TrainedNet) -> DownpourRegressionModel:
        return DownpourRegressionModel(net)


class DownpourRegressionModel(DownpourModel):
    """A trained net for numbers. Made by DownpourRegressor.fit, or DownpourRegressionModel.load."""

    __module__ = "downpour.ml"

    def predict(self, value: Vector) -> float:
        return float(self._outputs(value)[0])

    def _transform(self, dataset):
        return self._with(dataset, regress(self._net), [(self.getPredictionCol(), "prediction", None)])
