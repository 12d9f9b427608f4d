"""Tags by which a thread's Spark jobs, and no others, are cancelled."""
from __future__ import annotations

import contextlib
import uuid
from typing import Iterator


class JobTag:
    """A tag of its own. Any thread may cancel; `tagged` is of the thread that starts the jobs."""

    def __init__(self, spark):
        from pyspark.sql.utils import is_remote
        self.name = "downpour-" + uuid.uuid4().hex
        if is_remote():
            self._add, self._remove, self._cancel = spark.addTag, spark.removeTag, spark.interruptTag
        else:  # a session's own tags are of no use where there is a context: its jobs do not carry them
            context = spark.sparkContext
            self._add, self._remove, self._cancel = context.addJobTag, context.removeJobTag, context.cancelJobsWithTag

    @contextlib.contextmanager
    def tagged(self) -> Iterator[None]:
        """Jobs that this thread starts meanwhile have the tag."""
        self._add(self.name)
        try:
            yield
        finally:
            self._remove(self.name)

    def cancel(self) -> None:
        """Cancels the jobs that have the tag and run now."""
        self._cancel(self.name)
