"""Downpour in the conventions of pyspark.ml: estimators to fit, models that transform."""
from .classifier import DownpourClassificationModel, DownpourClassifier
from .regressor import DownpourRegressionModel, DownpourRegressor
from .summary import TrainingSummary

__all__ = ["DownpourClassificationModel", "DownpourClassifier", "DownpourRegressionModel", "DownpourRegressor",
           "TrainingSummary"]
