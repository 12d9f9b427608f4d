"""Which Python a local Spark runs its Python workers with."""
from __future__ import annotations

import os
import re
import sys


def use_this_python(spark) -> None:
    """Lets a local Spark run its Python workers with this interpreter, where nobody chose another.

    Spark's default is whatever `python3` is found first, which need not have this package.
    """
    from pyspark.sql.utils import is_remote
    if is_remote() or "PYSPARK_PYTHON" in os.environ:
        return
    context = spark.sparkContext
    if re.match(r"local(\[|$)", context.master) and not context.getConf().contains("spark.pyspark.python"):
        context.pythonExec = sys.executable
