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
    others: dict = dataclasses.field(default_factory=dict)  # further keys of the job

    def keys(self):
        return {"sync": self.sync, "optimizer": self.optimizer, **self.others}


# In the order in which they are shown: from strong to weak. Its place gives a mode its colour.
MODES = {
    "bsp": Mode("one update a step, from all", {"mode": "bsp"}, momentum(0.03, 0.9)),
    # Its addresses are as many as there are workers.
    "peer": Mode("as bsp, the shards live in the workers", {"mode": "peer"}, momentum(0.03, 0.9),
                 {"servers": {"shards": 2}}),
    "local_sgd": Mode("10 steps by itself, then the mean of all", {"mode": "local_sgd", "tau": 10}, adam(0.003)),
    "easgd_rounds": Mode(
        "10 steps by itself, then all are drawn to one centre",
        {"mode": "easgd", "tau": 10, "rounds": True},
        momentum(0.045, 0.9),
    ),
    "ssp": Mode("nobody more than 3 steps ahead of the slowest", {"mode": "ssp", "s": 3}, adam(0.001)),
    "asp": Mode("fetch and push at each step, wait for nobody", {"mode": "asp"}, adam(0.001)),
    "downpour": Mode(
        "fetch and push each 5 steps, step locally between, wait for nobody",
        {"mode": "downpour", "n_fetch": 5, "n_push": 5},
        momentum(0.03, 0.5),
    ),
    "easgd": Mode(
        "10 steps by itself, then drawn to a centre, wait for nobody",
        {"mode": "easgd", "tau": 10},
        momentum(0.06, 0.9),
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
