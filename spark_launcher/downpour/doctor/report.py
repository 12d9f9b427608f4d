"""What the doctor says: a table for people, JSON for programs, an exit status for scripts."""
from __future__ import annotations

import json
from typing import List, NamedTuple

from .checks import State, Verdict

ALL_GOOD = 0
SOMETHING_FAILS = 1
COULD_NOT_RUN = 2
_MARKS = {State.GOOD: "ok", State.WARNING: "warning", State.FAILS: "FAILS", State.UNKNOWN: "not seen"}


class Report(NamedTuple):
    """All verdicts, in the order in which one would mend what they find."""
    verdicts: List[Verdict]

    @property
    def status(self) -> int:
        """Exit status: 0, or 1 if something will fail. A warning does not."""
        failing = any(verdict.state is State.FAILS for verdict in self.verdicts)
        return SOMETHING_FAILS if failing else ALL_GOOD

    def to_json(self) -> str:
        return json.dumps({"ok": self.status == ALL_GOOD, "checks": [
            {**verdict._asdict(), "state": verdict.state.value} for verdict in self.verdicts]}, indent=2)

    def __str__(self):
        rows = [(one.check, one.where, _MARKS[one.state], one.found) for one in self.verdicts]
        widths = [max([len(row[column]) for row in rows], default=0) for column in range(3)]
        lines = []
        for row, verdict in zip(rows, self.verdicts):
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            lines.append("  ".join([*cells, row[3]]))
            if verdict.advice:
                lines.append(" " * (sum(widths) + 6) + "-> " + verdict.advice)
        return "\n".join(lines)

    __repr__ = __str__  # what a notebook shows
