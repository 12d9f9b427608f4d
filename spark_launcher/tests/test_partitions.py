"""Which rows a worker is given: of real DataFrames."""
from pyspark.sql import functions as F

from downpour import partitions


def rows_of(df):
    """Labels by partition, in the order in which a task sees them."""
    seen = {}
    for row in df.select(F.spark_partition_id().alias("partition"), "label").collect():
        seen.setdefault(row.partition, []).append(row.label)
    return seen


def test_rows_that_are_sorted_are_dealt_to_all_alike(spark):
    table = spark.range(0, 4000, 1, 8).select(F.col("id").alias("x.y"), (F.col("id") / 1000).cast("int").alias("label"))
    for given in (table, table.orderBy("label"), table.coalesce(1)):
        seen = rows_of(partitions.dealt(given, 4))
        assert sorted(seen) == [0, 1, 2, 3]
        for labels in seen.values():
            assert abs(len(labels) - 1000) <= 8  # a row or so more for each partition that it came from
            for label in range(4):
                assert 200 < labels.count(label) < 300
            assert labels[:100] != sorted(labels[:100])


def test_a_task_that_is_tried_again_is_given_the_same_rows_in_the_same_order(spark):
    values = F.array((F.col("id") % 7).cast("float"))
    table = spark.range(0, 2000, 1, 4).select(values.alias("x"), F.col("id").alias("label"))
    upside_down = table.sortWithinPartitions(F.col("label").desc())
    expected = rows_of(partitions.dealt(table, 2))
    assert rows_of(partitions.dealt(upside_down, 2)) == expected
    assert rows_of(partitions.as_many_as(upside_down, 2, 4)) == expected


def test_partitions_stay_where_they_are_as_many_as_workers(spark, capsys):
    table = spark.range(0, 10, 1, 2).select(F.col("id").alias("label"))
    assert partitions.as_many_as(table, 2, partitions.count(table)) is table
    assert capsys.readouterr().out == ""
    assert sorted(rows_of(partitions.as_many_as(table, 3, 2))) == [0, 1, 2]
    assert "it has 2 partitions, and the job has 3 workers" in capsys.readouterr().out
