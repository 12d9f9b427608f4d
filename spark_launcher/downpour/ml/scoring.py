"""Functions of a DataFrame's features that run a net: one ps-predict for each task."""
from __future__ import annotations

from typing import Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np
import pyarrow as pa

from ..predictor import Predictor
from .trained_net import TrainedNet

_ROWS = 1024  # whose values are held at once
_CLASSES = "raw array<double>, probability array<double>, prediction double"


def classify(net: TrainedNet, thresholds: Optional[List[float]] = None):
    """A function of a Column whose result is a struct of scores, probabilities and the likeliest class."""
    def fields(values: Dict[str, np.ndarray]) -> List[pa.Array]:
        (scores,) = values.values()
        scores = scores.astype(np.float64)
        probabilities = softmax(scores)
        return [_lists(scores), _lists(probabilities), pa.array(likeliest(probabilities, thresholds).astype(np.float64))]
    return _function(net, (), _CLASSES, fields)


def regress(net: TrainedNet):
    """A function of a Column whose result is a struct of the net's one value."""
    def fields(values: Dict[str, np.ndarray]) -> List[pa.Array]:
        (numbers,) = values.values()
        return [pa.array(numbers[:, 0].astype(np.float64))]
    return _function(net, (), "prediction double", fields)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, a row for each row of scores."""
    likely = np.exp(scores - scores.max(axis=1, keepdims=True))
    return likely / likely.sum(axis=1, keepdims=True)


def likeliest(probabilities: np.ndarray, thresholds: Optional[List[float]]) -> np.ndarray:
    """The class of each row: with thresholds the one with the greatest ratio of probability to threshold, as in pyspark.ml."""
    if thresholds is None:
        return probabilities.argmax(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(probabilities / np.asarray(thresholds), nan=0.0, posinf=np.inf).argmax(axis=1)


def layer_values(net: TrainedNet, layers: Sequence[str]):
    """A function of a Column whose result is a struct with an array<float> for each of `layers`, by their names."""
    layers = list(layers)
    kinds = ", ".join("`%s` array<float>" % name for name in layers)
    return _function(net, layers, kinds, lambda values: [_lists(values[name]) for name in layers])


def _function(net: TrainedNet, layers: Sequence[str], kinds: str,
              fields: Callable[[Dict[str, np.ndarray]], List[pa.Array]]):
    names = [field.split()[0].strip("`") for field in kinds.split(", ")]

    def arrays(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        with Predictor(net.job_text, net.parameters, net.num_features, layers) as predictor:
            for features in (batch.slice(begin, _ROWS) for batch in batches for begin in range(0, len(batch), _ROWS)):
                yield pa.StructArray.from_arrays(fields(predictor.values(features)), names=names)
    try:
        from pyspark.sql.functions import arrow_udf
    except ImportError:  # before Spark 4.1
        return _pandas_function(arrays, "struct<%s>" % kinds)
    return arrow_udf(_typed(arrays), "struct<%s>" % kinds)


def _typed(arrays):
    """The same with the annotations by which Spark knows that it takes and gives iterators."""
    def function(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        return arrays(batches)
    function.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    return function


def _pandas_function(arrays, kind: str):
    import pandas as pd
    from pyspark.sql.functions import pandas_udf

    def function(batches):
        for result in arrays(pa.array(series) for series in batches):
            yield pd.DataFrame({field.name: result.field(field.name).to_pandas() for field in result.type})
    function.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.DataFrame]}
    return pandas_udf(function, kind)


def _lists(matrix: np.ndarray) -> pa.Array:
    rows, width = matrix.shape
    offsets = pa.array(np.arange(0, (rows + 1) * width, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).reshape(-1)))
