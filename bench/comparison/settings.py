"""What each sync mode runs with, and the two cases. A mode more is one entry in MODES.

Rates: the best of a few short runs (bench/README.md says which). All run the same number of epochs, with a rate that
falls linearly to zero, so that no mode gains by its schedule.
"""

import dataclasses

WEIGHT_DECAY = 0.0005


def momentum(rate, share):
    return {"name": "momentum", "learning_rate": rate, "momentum": share, "weight_decay": WEIGHT_DECAY}


def adam(rate):
    return {"name": "adam", "learning_rate": rate}


@dataclasses.dataclass(frozen=True)
class Mode:
    about: str  # a phrase for people
    sync: dict  # the job's section of that name
    optimizer: dict


# In the order in which they are shown: from strong to weak. Its place gives a mode its colour.
MODES = {
    "bsp": Mode("one update a step, from all", {"mode": "bsp"}, momentum(0.03, 0.9)),
    "asp": Mode("fetch and push at each step, wait for nobody", {"mode": "asp"}, adam(0.001)),
    "downpour": Mode(
        "fetch and push each 5 steps, step locally between, wait for nobody",
        {"mode": "downpour", "n_fetch": 5, "n_push": 5},
        momentum(0.03, 0.5),
    ),
}


@dataclasses.dataclass(frozen=True)
class Case:
    title: str
    slow_down: float  # of the last worker
    weight: float  # how long a run takes, beside one of the first case: a guess until runs have ended


SLOW_DOWN = 3
CASES = {
    "alike": Case("All workers alike", 1, 1.0),
    "straggler": Case("The last worker three times as slow", SLOW_DOWN, 2.3),
}
