"""Trains the trace in a folder (see lenet_trace.cc) with PyTorch and prints the loss of each step."""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional


def main(folder: Path) -> None:
    steps, batch, _, rate = (float(x) for x in (folder / "trace.txt").read_text().split())
    values = np.fromfile(folder / "parameters.f32", dtype="<f4")
    tensors = {}
    for line in (folder / "parameters.txt").read_text().splitlines():
        name, offset, size, *sides = line.split()
        piece = values[int(offset) : int(offset) + int(size)].reshape([int(side) for side in sides])
        tensors[name] = torch.tensor(piece, requires_grad=True)
    shape = (int(steps), int(batch))
    features = torch.tensor(np.fromfile(folder / "features.f32", dtype="<f4").reshape(*shape, 1, 28, 28))
    labels = torch.tensor(np.fromfile(folder / "labels.i32", dtype="<i4").reshape(shape).astype("int64"))

    optimizer = torch.optim.SGD(tensors.values(), lr=rate)
    for x, label in zip(features, labels):
        x = functional.max_pool2d(functional.conv2d(x, tensors["conv1.weight"], tensors["conv1.bias"]), 2)
        x = functional.max_pool2d(functional.conv2d(x, tensors["conv2.weight"], tensors["conv2.bias"]), 2)
        x = functional.relu(functional.linear(x.flatten(1), tensors["ip1.weight"], tensors["ip1.bias"]))
        x = functional.linear(x, tensors["ip2.weight"], tensors["ip2.bias"])
        loss = functional.cross_entropy(x, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"{loss.item():.9g}")


main(Path(sys.argv[1]))
