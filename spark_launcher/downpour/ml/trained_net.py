"""What training leaves, in plain values."""
from __future__ import annotations

from typing import NamedTuple


class TrainedNet(NamedTuple):
    """A job's text, the parameters as a safetensors file, classes (0 where labels are numbers), values of a sample."""
    job_text: str = ""
    parameters: bytes = b""
    num_classes: int = 0
    num_features: int = 0
