"""PyTorch's side of bench/pytorch: prints the images/s of two processes that train one net together.

    pytorch_ddp.py NET contiguous|channels_last float32|bf16 SECONDS BATCH

bf16 is PyTorch's automatic mixed precision.
"""
import os
import socket
import sys
import time

import torch
import torch.distributed
import torch.multiprocessing
from torch import nn


class Block(nn.Module):
    def __init__(self, channels, outputs, stride):
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(channels, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.side = nn.Identity() if stride == 1 else nn.Sequential(
            nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu_(self.way(x) + self.side(x))


def make(net):
    if net == "lenet":
        return (1, 28, 28), nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(800, 500), nn.ReLU(inplace=True), nn.Linear(500, 10))
    if net == "mlp":
        return (784,), nn.Sequential(
            nn.Linear(784, 500), nn.ReLU(inplace=True), nn.Linear(500, 500), nn.ReLU(inplace=True), nn.Linear(500, 10))
    if net == "cifar10_quick":
        return (3, 32, 32), nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(inplace=True), nn.AvgPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(inplace=True), nn.AvgPool2d(3, 2, ceil_mode=True), nn.Flatten(),
            nn.Linear(1024, 64), nn.Linear(64, 10))
    if net == "resnet20":
        blocks = [Block(16, 16, 1) for _ in range(3)]
        blocks += [Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1)]
        blocks += [Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1)]
        return (3, 32, 32), nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True), *blocks,
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    sys.exit("no net " + net)


def work(rank, port, name, form, precision, seconds, batch, rates):
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", str(port)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(1)
    shape, net = make(name)
    samples = torch.rand(20 * batch, *shape)
    if form == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        samples = samples.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (len(samples),))
    net = nn.parallel.DistributedDataParallel(net, gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001)
    loss_of = nn.CrossEntropyLoss()

    def step(i):
        first = i % 20 * batch
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            scores = net(samples[first:first + batch])
        loss_of(scores.float(), labels[first:first + batch]).backward()
        optimizer.step()

    for i in range(10):
        step(i)
    begun, steps = time.perf_counter(), 0
    goes_on = torch.ones(1)
    while goes_on.item():
        for i in range(10):
            step(i)
        steps += 10
        goes_on.fill_(time.perf_counter() - begun < seconds)
        torch.distributed.broadcast(goes_on, 0)
    rates[rank] = steps * batch / (time.perf_counter() - begun)
    while not rates.all():
        time.sleep(0.01)
    os._exit(0)  # gloo's threads may abort a process on its way out that finds its peer gone


def main():
    name, form, precision, seconds, batch = *sys.argv[1:4], float(sys.argv[4]), int(sys.argv[5])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rates = torch.zeros(2, dtype=torch.float64).share_memory_()
    torch.multiprocessing.spawn(work, (port, name, form, precision, seconds, batch, rates), nprocs=2)
    print(float(rates.sum()))


if __name__ == "__main__":
    main()
