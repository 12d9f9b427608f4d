"""DownpourClassifier and its model."""
from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, List, Optional, Sequence, Union

from pyspark import keyword_only
from pyspark.ml import Estimator, Model
from pyspark.ml.functions import array_to_vector
from pyspark.ml.param.shared import HasProbabilityCol, HasRawPredictionCol

from .. import columns
from ..supervisor import Job
from ..train import train
from .params import DownpourParams
from .persistence import DownpourModelReadable, DownpourModelWritable, ParamsReadable, ParamsWritable
from .scoring import classify, layer_values
from .summary import TrainingSummary, epoch_means


class _ClassifierParams(DownpourParams, HasProbabilityCol, HasRawPredictionCol):
    """What classifier and model share."""

    def setProbabilityCol(self, value: str):
        return self._set(probabilityCol=value)

    def setRawPredictionCol(self, value: str):
        return self._set(rawPredictionCol=value)

    def _features_columns(self) -> Union[str, List[str]]:
        return self.getFeaturesCols() if self.isSet(self.featuresCols) else self.getFeaturesCol()


class DownpourClassifier(Estimator, _ClassifierParams, ParamsWritable, ParamsReadable):
    """Trains a net for classes on a DataFrame, by parameter servers and one worker for each partition.

        classifier = DownpourClassifier(layers=[20, 64, 3], maxIter=10, numWorkers=2)
        model = classifier.fit(df)              # columns `features` and `label`
        model.transform(df).select("prediction", "probability")

    featuresCol is of vectors, arrays of numbers or bytes, one a value; or featuresCols lists columns of numbers. labelCol
    counts classes from 0. The net is `layers`, as in MultilayerPerceptronClassifier but with ReLU, or that of a `job`.
    Raises DataError for data that cannot be trained on, TrainingFailed or WorkerFailed for what else may go wrong.
    """

    @keyword_only
    def __init__(self, *, featuresCol: str = "features", labelCol: str = "label", predictionCol: str = "prediction",
                 probabilityCol: str = "probability", rawPredictionCol: str = "rawPrediction",
                 featuresCols: Optional[List[str]] = None, job: Optional[str] = None, layers: Optional[List[int]] = None,
                 numWorkers: Optional[int] = None, syncMode: Optional[str] = None, maxIter: Optional[int] = None,
                 batchSize: Optional[int] = None, stepSize: Optional[float] = None, seed: Optional[int] = None,
                 settings: Optional[Dict[str, Any]] = None, runDir: Optional[str] = None):
        super().__init__()
        self._set(**{name: value for name, value in self._input_kwargs.items() if value is not None})

    @keyword_only
    def setParams(self, **kwargs) -> DownpourClassifier:
        """Sets any of the params."""
        return self._set(**self._input_kwargs)

    def _fit(self, dataset) -> DownpourClassificationModel:
        with tempfile.TemporaryDirectory(prefix="downpour-") as folder:
            job = self._resolve_job(folder)
            result = train(dataset, job.path, features_col=self._features_columns(), label_col=self.getLabelCol())
        with open(os.path.join(result.run_dir, "model.safetensors"), "rb") as file:
            parameters = file.read()
        with open(os.path.join(result.run_dir, "job.yaml"), encoding="utf-8") as file:
            job_text = file.read()
        model = DownpourClassificationModel(job_text, parameters, _classes(job), job.row_values)
        model._resetUid(self.uid)
        self._copyValues(model)
        model._summary = TrainingSummary(epoch_means(result.partitions), result.run_dir, result.summary)
        return model


class DownpourClassificationModel(Model, _ClassifierParams, DownpourModelWritable, DownpourModelReadable):
    """A trained net. Made by DownpourClassifier.fit, or DownpourClassificationModel.load."""

    def __init__(self, job_text: str = "", parameters: bytes = b"", num_classes: int = 0, num_features: int = 0):
        super().__init__()
        self._job_text = job_text
        self._parameters = parameters
        self._num_classes = num_classes
        self._num_features = num_features
        self._summary: Optional[TrainingSummary] = None

    @property
    def numClasses(self) -> int:
        return self._num_classes

    @property
    def numFeatures(self) -> int:
        """Values of a row's features."""
        return self._num_features

    @property
    def hasSummary(self) -> bool:
        """Whether it was just fitted; a model that was loaded has none."""
        return self._summary is not None

    @property
    def summary(self) -> TrainingSummary:
        if self._summary is None:
            raise RuntimeError("this model was loaded, not fitted: it has no summary")
        return self._summary

    @property
    def safetensors(self) -> bytes:
        """The parameters as a safetensors file, whose names and layouts are PyTorch's."""
        return self._parameters

    def extractFeatures(self, dataset, layers: Sequence[str]):
        """The DataFrame with a column array<float> for each of these layers, of its values for the row's features."""
        for name in layers:
            if name in dataset.columns:
                raise ValueError("there is a column '%s' already" % name)
        udf = layer_values(self._job_text, self._parameters, self._num_features, layers)
        return self._with(dataset, udf, {name: (name, None) for name in layers})

    def _transform(self, dataset):
        fields = {self.getRawPredictionCol(): ("raw", array_to_vector),
                  self.getProbabilityCol(): ("probability", array_to_vector),
                  self.getPredictionCol(): ("prediction", None)}
        return self._with(dataset, classify(self._job_text, self._parameters, self._num_features), fields)

    def _with(self, dataset, udf, fields):
        """The DataFrame with new columns: by name, the field of what a function of the features gives, and how to shape it.

        A column without a name is left out, as in pyspark.ml.
        """
        scored = columns.free_name(dataset, "downpour")
        result = dataset.withColumn(scored, udf(columns.features(dataset, self._features_columns())))
        for name, (field, shape) in fields.items():
            if name:
                value = result[scored][field]
                result = result.withColumn(name, shape(value) if shape else value)
        return result.drop(scored)


def _classes(job: Job) -> int:
    outputs = [layer["outputs"] for layer in job.resolved["net"] if "outputs" in layer]
    return int(outputs[-1])
