"""What all of Downpour's models do: they hold a trained net and run it on features."""
from __future__ import annotations

from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np
import pyarrow as pa
from pyspark.ml import Model
from pyspark.ml.linalg import Vector
from pyspark.sql.utils import is_remote

from .. import columns, report
from ..local_python import use_this_python
from ..predictor import Predictor
from .params import DownpourParams, described
from .persistence import DownpourModelReadable, DownpourModelWritable
from .scoring import layer_values
from .summary import TrainingSummary
from .trained_net import TrainedNet


class DownpourModel(Model, DownpourParams, DownpourModelWritable, DownpourModelReadable):
    """A trained net. Made by an estimator's fit, or by load."""

    def __init__(self, net: TrainedNet = TrainedNet()):
        super().__init__()
        self._net = net
        self._summary: Optional[TrainingSummary] = None

    def __repr__(self) -> str:
        facts = {"numFeatures": self._net.num_features}
        if self._net.num_classes:
            facts["numClasses"] = self._net.num_classes
        return described(self, facts)

    def _repr_html_(self) -> str:
        summary = self._summary._repr_html_() if self._summary else ""
        return "<div>%s%s</div>" % (report.paragraph(repr(self)), summary)

    @property
    def numFeatures(self) -> int:
        """Values of a row's features."""
        return self._net.num_features

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
        return self._net.parameters

    def extractFeatures(self, dataset, layers: Sequence[str]):
        """The DataFrame with a column array<float> for each of these layers, of its values for the row's features."""
        if isinstance(layers, str) or not layers:
            raise ValueError("layers should be a list of layers' names, not %r" % (layers,))
        extracted = self._with(dataset, layer_values(self._net, layers), [(name, name, None) for name in layers])
        if not is_remote():  # whose client need not have what runs the net
            self._values(np.zeros(self._net.num_features, np.float32), layers)
        return extracted

    def _outputs(self, features: Vector) -> np.ndarray:
        """What the net makes of one row, on this machine."""
        (values,) = self._values(np.asarray(features.toArray(), np.float32)).values()
        return values[0].astype(np.float64)

    def _values(self, row: np.ndarray, layers: Sequence[str] = ()) -> Dict[str, np.ndarray]:
        """These layers' values of one row, on this machine. Raises PredictionFailed for a layer that is not there."""
        rows = pa.array([row], pa.list_(pa.float32()))
        with Predictor(self._net.job_text, self._net.parameters, self._net.num_features, layers) as predictor:
            return predictor.values(rows)

    def _with(self, dataset, udf, fields: Sequence[Tuple[str, str, Optional[Callable]]]):
        """The DataFrame with new columns: each its name, the field of what a function of the features gives, and how to
        shape it.

        A column without a name is left out, as in pyspark.ml.
        """
        use_this_python(dataset.sparkSession)
        columns.check_new(dataset, [name for name, *_ in fields if name])
        dataset = columns.by_rows(dataset)
        scored = columns.free_name([*dataset.columns, *(name for name, *_ in fields)], "downpour")
        result = dataset.withColumn(scored, udf(columns.features(dataset, self._features_columns())))
        for name, field, shape in fields:
            if name:
                value = result[scored][field]
                result = result.withColumn(name, shape(value) if shape else value)
        return result.drop(scored)
