"""Downpour: asynchronous parameter-server training from Spark partitions."""
from .errors import DataError, TrainingFailed, WorkerFailed
from .idx import read_idx
from .train import Programs, TrainingResult, train, train_on_rdd
from .version import VERSION as __version__

__all__ = ["DataError", "Programs", "TrainingFailed", "TrainingResult", "WorkerFailed", "read_idx", "train",
           "train_on_rdd"]
