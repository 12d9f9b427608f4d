"""What can go wrong, as exceptions that name the cause.

Spark carries a task's exception to the driver as text only. A WorkerFailed therefore ends in a line that WorkerFailed
.from_text finds again, wherever in a stack trace it stands.
"""
from __future__ import annotations

import json
import re
from typing import Iterable, NamedTuple, Optional, Sequence

MARK = "downpour-failure: "
TAIL_LINES = 50
_MAX_LINE = 300
_MAX_OTHERS = 20
_CAUSE = "Caused by: "
# Exit statuses, as worker/CONTRACT.md has them.
_LOST_ANOTHER = 69
_WRONG = (64, 65, 78)  # the job, its flags or its data


class TrainingFailed(RuntimeError):
    """A training job that did not end well; the message says why."""


class PartitionFailed(TrainingFailed):
    """A partition whose rows could not be computed."""


class SparkFailed(TrainingFailed):
    """A Spark job that failed for what is not the worker's doing, such as a lost executor."""


class DataError(TrainingFailed, ValueError):
    """Columns, files or settings that cannot be trained on; the message names which. A row that cannot is found by its
    worker, and so a WorkerFailed, whose reason names column and row."""


class FailedAttempt(NamedTuple):
    """A try at a partition that failed; attempt is "stage.task", as the servers know it."""
    partition: int
    attempt: str
    host: str
    reason: str

    def __str__(self):
        return "partition %d, attempt %s on %s: %s" % self


class WorkerFailed(TrainingFailed):
    """A partition's worker that failed: the first try of it that did.

    Attributes:
      partition: which one.
      attempt: "stage.task", as the servers know it.
      host: where it ran.
      status: its exit status; negative for a signal; None if it never ran.
      reason: one sentence.
      hint: the likely cause or what to try, or "".
      log_tail: the last lines of its log.
      others: the other attempts of the job that failed, as FailedAttempt, the first 20.
    """

    def __init__(self, partition: int, attempt: str, host: str, status: Optional[int], reason: str, hint: str = "",
                 log_tail: Sequence[str] = (), others: Sequence[FailedAttempt] = ()):
        self.partition = partition
        self.attempt = attempt
        self.host = host
        self.status = status
        self.reason = reason
        self.hint = hint
        self.log_tail = tuple(line[:_MAX_LINE] for line in log_tail[-TAIL_LINES:])
        self.others = tuple(FailedAttempt(*other) for other in others[:_MAX_OTHERS])
        super().__init__(partition, attempt, host, status, reason, hint, self.log_tail, self.others)

    def __str__(self):
        how = "" if self.status is None else (
            " (signal %d)" % -self.status if self.status < 0 else " (exit status %d)" % self.status)
        lines = ["worker of partition %d on %s, attempt %s, failed: %s%s"
                 % (self.partition, self.host, self.attempt, self.reason, how)]
        if self.hint:
            lines.append("likely cause: " + self.hint)
        if self.others:
            lines.append("other attempts that failed:")
            lines += ["    %s" % (other,) for other in self.others]
        if self.log_tail:
            lines.append("its last log lines:")
            lines += ["    " + line for line in self.log_tail]
        return "\n".join(lines)

    @property
    def follows(self) -> bool:
        """Whether it comes from the end of a server, or of another worker that holds parameters."""
        return self.status == _LOST_ANOTHER

    @property
    def avoidable(self) -> bool:
        """Whether the same job may do better when it is started again."""
        return self.status is not None and self.status not in _WRONG

    def with_hint(self, hint: str) -> WorkerFailed:
        """The same failure with one more hint."""
        return WorkerFailed(*self.args[:5], "; ".join(filter(None, (self.hint, hint))), self.log_tail, self.others)

    def with_others(self, others: Iterable[WorkerFailed], log_tail: Sequence[str] = ()) -> WorkerFailed:
        """The same failure with the others of its job, and with log lines where it has none."""
        return WorkerFailed(*self.args[:6], self.log_tail or log_tail, [other.as_attempt() for other in others])

    def as_attempt(self) -> FailedAttempt:
        """It on one line."""
        return FailedAttempt(self.partition, self.attempt, self.host, self.reason)

    def to_line(self) -> str:
        """All of it on one line, for from_text."""
        return MARK + json.dumps(self.args)

    @classmethod
    def from_text(cls, text: str) -> Optional[WorkerFailed]:
        """The first failure that a text, such as a Spark error, carries; None if it carries none."""
        found = re.search(re.escape(MARK) + r"(\[.*\])", text)
        if not found:
            return None
        try:
            return cls(*json.loads(found.group(1)))
        except (ValueError, TypeError):
            return None


class TaskFailed(RuntimeError):
    """What a Spark task raises for a WorkerFailed: the same message, and the line from which the driver restores it."""

    def __init__(self, failure: WorkerFailed):
        super().__init__("%s\n%s" % (failure, failure.to_line()))


def last_python_error(text: str) -> Optional[str]:
    """The "SomeError: message" line that ends the first Python traceback in a text; None without a traceback."""
    at = text.find("Traceback (most recent call last):")
    if at < 0:
        return None
    for line in text[at:].splitlines()[1:]:
        if re.match(r"[A-Za-z_][\w.]*(: |$)", line):
            return re.sub(r"^([A-Za-z_]\w*\.)+(?=\w+(: |$))", "", line)
    return None


def spark_reason(error: BaseException) -> str:
    """The one line of a Spark error that says most: where it begins with py4j's own, its last cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if len(lines) > 1 and lines[0].startswith("An error occurred while calling"):
        causes = [line[len(_CAUSE):] for line in lines if line.startswith(_CAUSE)]
        return causes[-1] if causes else lines[1].lstrip(": ")
    return lines[0]
