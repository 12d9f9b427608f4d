"""Safetensors files, and random parameters for a net."""

import json
import struct

import numpy as np


def write(path, tensors):
    header, body = {}, b""
    for name, values in tensors.items():
        data = np.ascontiguousarray(values, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def read(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
    }


def random_parameters(place, job, seed=1):
    """For each tensor of the job's net values of a size that keeps the net's values near 1."""
    described = place.run("ps-ctl", "describe", job, "--json")
    assert described.returncode == 0, described.stderr
    draw = np.random.default_rng(seed)
    tensors = {}
    for layer in json.loads(described.stdout)["layers"]:
        for tensor in layer["tensors"]:
            name, shape = tensor["name"], tensor["shape"]
            if name.endswith(".running_var"):
                tensors[name] = draw.uniform(0.5, 2, shape)
            elif len(shape) > 1:
                tensors[name] = draw.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            else:
                tensors[name] = draw.uniform(-0.5, 1, shape)
    return {name: np.asarray(values, np.float32) for name, values in tensors.items()}
