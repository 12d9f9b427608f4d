"""A pre-flight check: whether a job could be trained on a Spark, and what to do if not.

    python -m downpour.doctor --master spark://master:7077 --job job.yaml
    downpour.doctor.examine(spark, "job.yaml")
"""
from .examination import examine
from .report import Report

__all__ = ["Report", "examine"]
