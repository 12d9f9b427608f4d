"""Images/s of training steps on a GPU: ours beside PyTorch's, on the same device in the same run.

Each step takes a batch from the host, computes the loss and its gradients and makes one update of plain gradient descent.
PyTorch runs three ways: eager; its whole step captured as a CUDA graph; and with --compile, which takes its time, compiled
to use CUDA graphs. Its precision is its default, TF32 in convolutions; ours is --precision,
which is of other products than convolutions.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NETS = ("lenet", "mlp", "cifar10_quick", "resnet20", "lstm", "attention")


def net_of(name):
    from torch import nn

    if name == "lenet":
        return (1, 28, 28), nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))
    if name == "mlp":
        return (784,), nn.Sequential(
            nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 500), nn.ReLU(), nn.Linear(500, 10))
    if name == "resnet20":
        class Block(nn.Module):
            def __init__(self, channels, outputs, stride):
                super().__init__()
                self.way = nn.Sequential(
                    nn.Conv2d(channels, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                    nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
                self.side = nn.Identity() if stride == 1 else nn.Sequential(
                    nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

            def forward(self, x):
                return (self.way(x) + self.side(x)).relu()

        stages = [Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1), Block(16, 32, 2), Block(32, 32, 1),
                  Block(32, 32, 1), Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1)]
        return (3, 32, 32), nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *stages,
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    if name == "lstm":
        class Lstm(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm, self.ip = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

            def forward(self, x):
                return self.ip(self.lstm(x.flatten(1, 2))[0][:, -1])

        return (1, 28, 28), Lstm()
    if name == "attention":
        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed, self.ip = nn.Linear(28, 64), nn.Linear(28 * 64, 10)
                self.layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0, activation="gelu", batch_first=True)

            def forward(self, x):
                return self.ip(self.layer(self.embed(x.flatten(1, 2))).flatten(1))

        return (1, 28, 28), Encoder()
    if name != "cifar10_quick":
        sys.exit("PyTorch's side has no net " + name)
    return (3, 32, 32), nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True), nn.Flatten(),
        nn.Linear(1024, 64), nn.Linear(64, 10))


def rates(step, batch, seconds, rounds):
    """Images/s of each round."""
    import torch

    for _ in range(20):
        step()
    found = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        begun, steps = time.perf_counter(), 0
        while True:
            for _ in range(10):
                step()
            torch.cuda.synchronize()
            steps += 10
            elapsed = time.perf_counter() - begun
            if elapsed >= seconds:
                break
        found.append(steps * batch / elapsed)
    return found


def pytorch(name, batch, way, seconds, rounds):
    import torch

    shape, net = net_of(name)
    convolutional = len(shape) == 3
    net = net.cuda()
    if convolutional and shape[0] > 1:
        net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, foreach=True)
    loss_of = torch.nn.CrossEntropyLoss()
    host_x = torch.rand(batch, *shape)
    if convolutional and shape[0] > 1:
        host_x = host_x.contiguous(memory_format=torch.channels_last)
    host_x = host_x.pin_memory()
    host_y = (torch.arange(batch) % 10).pin_memory()
    x, y = host_x.cuda(), host_y.cuda()
    forward = torch.compile(net, mode="reduce-overhead") if way == "compiled" else net

    def compute():
        optimizer.zero_grad(set_to_none=way != "graphed")
        loss_of(forward(x), y).backward()
        optimizer.step()

    run = compute
    if way == "graphed":
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            compute()
        run = graph.replay

    def step():
        x.copy_(host_x, non_blocking=True)
        y.copy_(host_y, non_blocking=True)
        run()

    return rates(step, batch, seconds, rounds)


def ours(name, batch, options):
    command = ["steps", os.path.join(HERE, "nets", name + ".yaml"), "--batch", str(batch), "--seconds",
               str(options.seconds), "--rounds", str(options.rounds), "--precision", options.precision]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--batches", default="64,1024")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="float32", help="ours: float32, tf32 or bf16")
    parser.add_argument("--compile", default="", help="nets whose PyTorch is compiled too, or 'all'")
    parser.add_argument("--json", help="where the figures go as JSON")
    options = parser.parse_args()
    try:
        import torch
        where = torch.cuda.get_device_name(0) + ", PyTorch " + torch.__version__
    except ImportError:
        torch, where = None, "no PyTorch here: ours alone"
    print(where)
    print(f"{'net':14} {'batch':>5} {'ours':>12} {'eager':>12} {'graphed':>12} {'compiled':>12}   images/s, medians of "
          f"{options.rounds}; in brackets ours by it", flush=True)
    figures = {"where": where, "rows": []}
    for name in options.nets.split(","):
        for batch in map(int, options.batches.split(",")):
            row = {"net": name, "batch": batch, "ours": ours(name, batch, options)}
            cells = [f"{row['ours']['images_a_second']:12,.0f}"]
            for way in ("eager", "graphed", "compiled"):
                if torch is None or way == "compiled" and options.compile != "all" and name not in options.compile.split(","):
                    cells.append(f"{'not run':>12}")
                    continue
                found = pytorch(name, batch, way, options.seconds, options.rounds)
                row[way] = {"median": statistics.median(found), "least": min(found), "most": max(found)}
                ratio = row["ours"]["images_a_second"] / row[way]["median"]
                cells.append(f"{row[way]['median']:,.0f} ({ratio:.2f})".rjust(12))
            print(f"{name:14} {batch:5} " + " ".join(cells), flush=True)
            figures["rows"].append(row)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(figures, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
