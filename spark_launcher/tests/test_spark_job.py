"""Spark jobs in threads of their own, on a real local Spark."""
import pytest

from downpour.spark_job import SparkJob


def test_a_job_is_of_its_callers_job_group(spark):
    context = spark.sparkContext
    context.setJobGroup("mine", "what it is")
    try:
        job = SparkJob(spark, lambda: context.getLocalProperty("spark.jobGroup.id"))
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)
        context.setLocalProperty("spark.job.description", None)
    assert job.wait(60) and job.result() == "mine"


def test_the_tasks_that_failed_are_found_among_all(spark):
    def fails(batches):
        for batch in batches:
            if 2 in batch.column(0).to_pylist():
                raise ValueError("two is odd")
            yield batch
    job = SparkJob(spark, spark.range(0, 4, 1, 4).mapInArrow(fails, "id long").collect)
    assert job.wait(60)
    with pytest.raises(Exception, match="two is odd"):
        job.result()
    (task,) = [task for task in job.failed_tasks() if not task.killed]
    assert task.partition == 2 and "ValueError: two is odd" in task.text
