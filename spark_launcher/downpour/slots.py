"""How many tasks Spark runs at once."""
from __future__ import annotations

import re
import time
from typing import Optional

_LOOK_S = 0.2


def concurrent_tasks(spark) -> Optional[int]:
    """How many tasks of the default resource profile fit Spark's executors now; None where that can't be seen, as through
    Spark Connect."""
    from pyspark.sql.utils import is_remote
    if is_remote():
        return None
    context = spark.sparkContext._jsc.sc()  # what the barrier scheduler itself goes by; Python has no name for it
    return int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))


def wait_for_tasks(spark, wanted: int, timeout_s: float) -> Optional[int]:
    """As concurrent_tasks, once it is at least `wanted` or the time is over: executors may still be on their way."""
    deadline = time.monotonic() + (0.0 if _is_local(spark) else timeout_s)
    while True:
        fit = concurrent_tasks(spark)
        if fit is None or fit >= wanted or time.monotonic() > deadline:
            return fit
        time.sleep(_LOOK_S)


def _is_local(spark) -> bool:
    from pyspark.sql.utils import is_remote
    return not is_remote() and re.match(r"local(\[|$)", spark.sparkContext.master) is not None
