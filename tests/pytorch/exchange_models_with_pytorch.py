"""Runs in the environment with PyTorch: a module's nets as ONNX, and a module that loads a model of ours.

    exchange_models_with_pytorch.py export FOLDER           NAME.onnx, NAME.samples.npy and NAME.outputs.npy of each module
    exchange_models_with_pytorch.py load MODEL.npz FOLDER   image's tensors from the file; reads image.samples.npy, prints
                                                            its outputs as JSON
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import torch
from torch import nn


class Words(nn.Module):
    """Of ids of words."""

    def __init__(self):
        super().__init__()
        self.words, self.lstm = nn.Embedding(11, 6), nn.LSTM(6, 5, batch_first=True)
        self.gru, self.each = nn.GRU(5, 4, batch_first=True), nn.Linear(4, 7)
        self.gelu, self.norm, self.ip = nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 3)

    def forward(self, ids):
        steps = self.gru(self.lstm(self.words(ids))[0])[0]
        return self.ip(self.norm(self.gelu(self.each(steps)))[:, -1])


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.prelu = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.PReLU(8)
        self.conv2, self.up = nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4), nn.ConvTranspose2d(12, 6, 3, stride=2)
        self.ip1, self.ip2 = nn.Linear(6 * 7 * 7, 9), nn.Linear(9, 4)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(self.up(torch.relu(self.conv2(x))), 2)
        return self.ip2(torch.tanh(self.ip1(x.flatten(1))))


def module(name):
    torch.manual_seed(3)
    made = {"words": Words, "image": Image}[name]()
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
    return made.eval()


def samples(name):
    return torch.randint(11, (5, 8)) if name == "words" else torch.randn(5, 3, 13, 13)


def export(folder):
    for name in ("words", "image"):
        made, given = module(name), samples(name)
        with torch.no_grad():
            outputs = made(given)
        torch.onnx.export(made, (given[:1],), str(folder / f"{name}.onnx"), opset_version=14)
        np.save(folder / f"{name}.samples.npy", given.float().numpy())
        np.save(folder / f"{name}.outputs.npy", outputs.numpy())


def load(model, folder):
    made = module("image")
    tensors = {name: torch.from_numpy(values) for name, values in np.load(model).items()}
    missing = made.load_state_dict(tensors, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"bn1.num_batches_tracked"}, missing
    with torch.no_grad():
        print(json.dumps(made(torch.from_numpy(np.load(folder / "image.samples.npy"))).tolist()))


warnings.simplefilter("ignore")
if sys.argv[1] == "export":
    export(pathlib.Path(sys.argv[2]))
else:
    load(sys.argv[2], pathlib.Path(sys.argv[3]))
