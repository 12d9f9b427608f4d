"""Repeats traces of optimizer_trace.cc with PyTorch's optimizers.

    replay_optimizers_with_pytorch.py CASES

CASES is a JSON list of {"folder", "optimizer", "options", "clip_value"}. For each it prints a line of JSON: by which
share of max(1, |PyTorch's value|) the parameters after any step are off at most, of dense.f32 and of split.f32, and by
how much PyTorch's own values have moved.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch


def read(path: Path, columns: int) -> np.ndarray:
    return np.fromfile(path, dtype="<f4").reshape(-1, columns)


def replay(case: dict) -> dict:
    folder = Path(case["folder"])
    initial = np.fromfile(folder / "initial.f32", dtype="<f4")
    parameter = torch.nn.Parameter(torch.tensor(initial))
    optimizer = getattr(torch.optim, case["optimizer"])([parameter], **case["options"])
    theirs = []
    for gradient in read(folder / "gradients.f32", initial.size):
        parameter.grad = torch.tensor(gradient)
        if case["clip_value"]:
            torch.nn.utils.clip_grad_value_([parameter], case["clip_value"])
        optimizer.step()
        theirs.append(parameter.detach().numpy().copy())
    theirs = np.stack(theirs)
    scale = np.maximum(1, np.abs(theirs))
    off = {
        name: float(np.max(np.abs(read(folder / f"{name}.f32", initial.size) - theirs) / scale))
        for name in ("dense", "split")
    }
    return {**off, "steps": len(theirs), "moved": float(np.mean(np.abs(theirs[-1] - initial)))}


for case in json.loads(Path(sys.argv[1]).read_text()):
    print(json.dumps(replay(case)))
