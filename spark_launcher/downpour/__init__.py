"""Downpour: asynchronous parameter-server training from Spark partitions."""
from .errors import DataError, TrainingFailed, WorkerFailed
from .idx import read_idx
from .train import Programs, TrainingResult, train, train_on_rdd

__all__ = ["DataError", "Programs", "TrainingFailed", "TrainingResult", "WorkerFailed", "read_idx", "train",
           "train_on_rdd"]
