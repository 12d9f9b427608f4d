"""How rows come into partitions, of which each worker has one."""
from __future__ import annotations

from typing import Optional


def dealt(rows, workers: int):
    """The rows in as many partitions as workers, each with rows like all of them, however they were sorted before.

    They are dealt out in turn, and each partition is sorted by a hash of the rows: a task that is tried again is given the
    same rows in the same order, which Spark does not promise after a shuffle. Of an RDD's rows it is the order in which
    they come.
    """
    dealt_out = rows.repartition(workers)
    if not hasattr(rows, "columns"):
        return dealt_out
    from pyspark.sql import functions as F
    columns = ["`%s`" % name.replace("`", "``") for name in rows.columns]
    return dealt_out.sortWithinPartitions(F.xxhash64(*columns))


def as_many_as(data, workers: int, partitions: Optional[int]):
    """A DataFrame or an RDD of `partitions` partitions as it is if these are as many as workers; dealt out if not."""
    if partitions == workers:
        return data
    print("The data is repartitioned: %s, and the job has %d workers." % (
        "its number of partitions is not known here" if partitions is None else "it has %d partitions" % partitions,
        workers))
    return dealt(data, workers)


def count(df) -> Optional[int]:
    """The number of partitions; None where it cannot be seen, as through Spark Connect."""
    from pyspark.sql.utils import is_remote
    return None if is_remote() else df.rdd.getNumPartitions()
