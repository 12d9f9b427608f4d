"""PyTorch's side of bench/mnist: trains LeNet in one process, and prints what it came to as a line of JSON.

    pytorch_mnist.py FOLDER STEPS SEED JOB

JOB is a resolved job as JSON: its batch, rate, momentum, weight decay and shift are taken, the rate falls linearly to zero.
"""

import gzip
import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn


def read(folder, name, header):
    plain = pathlib.Path(folder) / name
    content = plain.read_bytes() if plain.exists() else gzip.decompress(plain.with_name(name + ".gz").read_bytes())
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy())


def read_part(folder, part):
    images = read(folder, part + "-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    return images.float() / 256, read(folder, part + "-labels-idx1-ubyte", 8).long()


def shifted(padded, rows, most):
    """Of the samples in `rows`, padded by `most`, windows of 28 anywhere."""
    begin = torch.randint(2 * most + 1, (2, len(rows), 1))
    sides = begin + torch.arange(28)
    return padded[rows[:, None, None], 0, sides[0][:, :, None], sides[1][:, None, :]][:, None]


def main():
    folder, steps, seed, job = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
    batch, shift, recipe = int(job["training"]["batch"]), int(job["data"]["transforms"]["shift"]), job["optimizer"]
    torch.manual_seed(seed)
    images, labels = read_part(folder, "train")
    padded = nn.functional.pad(images, [shift] * 4)
    net = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.BatchNorm2d(20), nn.ReLU(inplace=True), nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2), nn.BatchNorm2d(50), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(800, 500), nn.ReLU(inplace=True),
        nn.Linear(500, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=recipe["learning_rate"], momentum=recipe["momentum"],
                                weight_decay=recipe["weight_decay"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    loss_of = nn.CrossEntropyLoss()
    begun, order = time.perf_counter(), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) == 0:
            order = torch.randperm(len(labels))
        rows, order = order[:batch], order[batch:]
        optimizer.zero_grad(set_to_none=True)
        loss_of(net(shifted(padded, rows, shift)), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - begun
    images, labels = read_part(folder, "t10k")
    net.eval()
    with torch.no_grad():
        correct = sum(int((net(images[i:i + 500]).argmax(1) == labels[i:i + 500]).sum()) for i in range(0, len(labels), 500))
    print(json.dumps({"accuracy": correct / len(labels), "training_seconds": seconds}))


if __name__ == "__main__":
    main()
