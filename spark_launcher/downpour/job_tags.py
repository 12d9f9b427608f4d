"""What a thread's Spark jobs carry: tags, by which they, and no others, are cancelled, and what their caller gave them."""
from __future__ import annotations

import contextlib
import uuid
import warnings
from typing import Callable, Iterator


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
        with contextlib.suppress(ConnectionError):  # the JVM is gone, and they with it
            self._cancel(self.name)


def inheriting(run: Callable[[], None]) -> Callable[[], None]:
    """The same for a thread whose jobs are of this one's job group, pool and description too."""
    from pyspark import inheritable_thread_target
    from pyspark.sql.utils import is_remote
    if is_remote():
        return run
    with warnings.catch_warnings():  # that a session's own tags are left out, which are of no use (JobTag)
        warnings.filterwarnings("ignore", "Spark session is not provided")
        return inheritable_thread_target(run)
