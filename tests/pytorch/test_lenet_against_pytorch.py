"""LeNet trained here and by PyTorch, with the same weights and batches, has the same loss in each step."""

import array
import subprocess
from pathlib import Path

TOLERANCE = 1e-4


def test_the_loss_of_each_step_is_pytorchs(lenet_trace: Path, torch_python: Path, tmp_path: Path) -> None:
    subprocess.run([lenet_trace, tmp_path], check=True, timeout=120)
    ours = array.array("f", (tmp_path / "losses.f32").read_bytes())
    replay = Path(__file__).with_name("replay_with_pytorch.py")
    printed = subprocess.run(
        [torch_python, replay, tmp_path], check=True, timeout=300, stdout=subprocess.PIPE, text=True
    ).stdout
    theirs = [float(line) for line in printed.split()]

    assert len(ours) == len(theirs) == 50
    assert theirs[-1] < theirs[0] - 0.3, "the trace must be one in which something is learnt"
    worst = max(range(50), key=lambda step: abs(ours[step] - theirs[step]))
    assert abs(ours[worst] - theirs[worst]) <= TOLERANCE, f"step {worst}: {ours[worst]} and {theirs[worst]}"
