"""PyTorch's side of bench/mnist: trains LeNet in one process, and prints what it came to as a line of JSON.

    pytorch_mnist.py FOLDER STEPS SEED

The recipe: batches of 64, momentum 0.9, a rate that falls linearly from 0.05 to zero, each image shifted by up to two
pixels.
"""

import gzip
import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

BATCH, RATE, MOMENTUM, SHIFT = 64, 0.05, 0.9, 2


def read(folder, name, header):
    plain = pathlib.Path(folder) / name
    content = plain.read_bytes() if plain.exists() else gzip.decompress(plain.with_name(name + ".gz").read_bytes())
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy())


def read_part(folder, part):
    images = read(folder, part + "-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    return images.float() / 256, read(folder, part + "-labels-idx1-ubyte", 8).long()


def shifted(padded, rows):
    """Of the samples in `rows`, windows of 28 anywhere in 32."""
    begin = torch.randint(2 * SHIFT + 1, (2, len(rows), 1))
    sides = begin + torch.arange(28)
    return padded[rows[:, None, None], 0, sides[0][:, :, None], sides[1][:, None, :]][:, None]


def main():
    folder, steps, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(seed)
    images, labels = read_part(folder, "train")
    padded = nn.functional.pad(images, [SHIFT] * 4)
    net = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(800, 500), nn.ReLU(inplace=True), nn.Linear(500, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    loss_of = nn.CrossEntropyLoss()
    begun, order = time.perf_counter(), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) == 0:
            order = torch.randperm(len(labels))
        rows, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad(set_to_none=True)
        loss_of(net(shifted(padded, rows)), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - begun
    images, labels = read_part(folder, "t10k")
    with torch.no_grad():
        correct = sum(int((net(images[i:i + 500]).argmax(1) == labels[i:i + 500]).sum()) for i in range(0, len(labels), 500))
    print(json.dumps({"accuracy": correct / len(labels), "training_seconds": seconds}))


if __name__ == "__main__":
    main()
