"""Each type of layer and its like in PyTorch: what test_layers_against_pytorch.py compares.

To add one: a line in CASES with the layer as a job has it (its name left out), the shapes of its inputs, and a function
of (torch, x, p) that computes the same: x has the inputs, p the parameters by name and a loss's `classes` or `numbers`.
A loss gives one value for each sample. A shape "6<10" has whole numbers below 10 for its values. A layer's running
averages, those called running_*, are to be changed in place.
"""


def hinge(torch, x, p):
    signs = 2 * torch.nn.functional.one_hot(p["classes"], x[0].shape[1]) - 1
    return torch.relu(1 - signs * x[0].flatten(1))


def batch_norm(epsilon, momentum):
    return lambda torch, x, p: torch.nn.functional.batch_norm(
        x[0], p["running_mean"], p["running_var"], p["weight"], p["bias"], True, momentum, epsilon
    )


# PyTorch's own goes across channels only.
def lrn_within_channel(size, alpha, beta, k):
    return lambda torch, x, p: x[0] / (
        (k + alpha * torch.nn.functional.avg_pool2d(x[0] ** 2, size, 1, size // 2)) ** beta
    )


CASES = [
    (
        "type: convolution, outputs: 5, kernel: 3",
        ["3x7x9"],
        lambda torch, x, p: torch.conv2d(x[0], p["weight"], p["bias"]),
    ),
    (
        "type: convolution, outputs: 5, kernel: 3, stride: 2, pad: 2",
        ["3x7x9"],
        lambda torch, x, p: torch.conv2d(x[0], p["weight"], p["bias"], stride=2, padding=2),
    ),
    (
        "type: convolution, outputs: 6, kernel: 3, stride: 2, pad: 1, dilation: 2, groups: 3",
        ["9x8x7"],
        lambda torch, x, p: torch.conv2d(x[0], p["weight"], p["bias"], stride=2, padding=1, dilation=2, groups=3),
    ),
    (
        "type: transposed_convolution, outputs: 5, kernel: 4, stride: 2, pad: 1",
        ["3x4x5"],
        lambda torch, x, p: torch.conv_transpose2d(x[0], p["weight"], p["bias"], stride=2, padding=1),
    ),
    (
        "type: transposed_convolution, outputs: 6, kernel: 3, stride: 3, pad: 2, dilation: 2, groups: 2",
        ["4x3x4"],
        lambda torch, x, p: torch.conv_transpose2d(
            x[0], p["weight"], p["bias"], stride=3, padding=2, dilation=2, groups=2
        ),
    ),
    (
        "type: pooling, kernel: 2, stride: 2",
        ["3x6x8"],
        lambda torch, x, p: torch.max_pool2d(x[0], 2, 2),
    ),
    (
        "type: pooling, kernel: 3, stride: 2, pad: 1, round_up: true",
        ["3x6x9"],
        lambda torch, x, p: torch.max_pool2d(x[0], 3, 2, 1, ceil_mode=True),
    ),
    (
        "type: pooling, kernel: 3, stride: 1, method: average",
        ["3x6x7"],
        lambda torch, x, p: torch.nn.functional.avg_pool2d(x[0], 3, 1),
    ),
    (
        "type: pooling, kernel: 3, stride: 2, pad: 1, round_up: true, method: average",
        ["3x6x9"],
        lambda torch, x, p: torch.nn.functional.avg_pool2d(x[0], 3, 2, 1, ceil_mode=True),
    ),
    ("type: global_pooling", ["3x4x5"], lambda torch, x, p: x[0].amax((2, 3))),
    ("type: global_pooling, method: average", ["3x4x5"], lambda torch, x, p: x[0].mean((2, 3))),
    (
        "type: inner_product, outputs: 7",
        ["3x4x5"],
        lambda torch, x, p: torch.nn.functional.linear(x[0].flatten(1), p["weight"], p["bias"]),
    ),
    ("type: relu", ["3x4x5"], lambda torch, x, p: torch.relu(x[0])),
    ("type: leaky_relu", ["3x4x5"], lambda torch, x, p: torch.nn.functional.leaky_relu(x[0])),
    ("type: leaky_relu, slope: 0.3", ["3x4x5"], lambda torch, x, p: torch.nn.functional.leaky_relu(x[0], 0.3)),
    ("type: prelu", ["3x4x5"], lambda torch, x, p: torch.prelu(x[0], p["weight"])),
    ("type: elu", ["3x4x5"], lambda torch, x, p: torch.nn.functional.elu(x[0])),
    ("type: elu, slope: 0.5", ["3x4x5"], lambda torch, x, p: torch.nn.functional.elu(x[0], 0.5)),
    ("type: gelu", ["3x4x5"], lambda torch, x, p: torch.nn.functional.gelu(x[0])),
    ("type: sigmoid", ["3x4x5"], lambda torch, x, p: torch.sigmoid(x[0])),
    ("type: tanh", ["3x4x5"], lambda torch, x, p: torch.tanh(x[0])),
    ("type: softmax", ["5x3x4"], lambda torch, x, p: torch.softmax(x[0], 1)),
    ("type: softmax", ["9"], lambda torch, x, p: torch.softmax(x[0], 1)),
    ("type: maxout, pieces: 3", ["6x3x4"], lambda torch, x, p: x[0].reshape(-1, 2, 3, 3, 4).amax(2)),
    ("type: batch_norm", ["4x3x5"], batch_norm(1e-5, 0.1)),
    ("type: batch_norm, epsilon: 0.01, moving_average_fraction: 0.7", ["6"], batch_norm(0.01, 0.3)),
    (
        "type: layer_norm, epsilon: 0.01",
        ["3x4x5"],
        lambda torch, x, p: torch.nn.functional.layer_norm(x[0], [3, 4, 5], p["weight"], p["bias"], 0.01),
    ),
    (
        "type: layer_norm, axis: step",
        ["7x1x33"],
        lambda torch, x, p: torch.nn.functional.layer_norm(x[0], [33], p["weight"], p["bias"]),
    ),
    ("type: lrn, alpha: 0.5", ["9x3x4"], lambda torch, x, p: torch.nn.functional.local_response_norm(x[0], 5, 0.5)),
    (
        "type: lrn, local_size: 3, alpha: 2, beta: 0.6, k: 0.5",
        ["9x3x4"],
        lambda torch, x, p: torch.nn.functional.local_response_norm(x[0], 3, 2, 0.6, 0.5),
    ),
    ("type: lrn, local_size: 3, alpha: 2, region: within_channel", ["3x6x5"], lrn_within_channel(3, 2, 0.75, 1)),
    ("type: eltwise", ["3x4x5", "3x4x5", "3x4x5"], lambda torch, x, p: x[0] + x[1] + x[2]),
    ("type: eltwise, operation: product", ["3x4x5", "3x4x5"], lambda torch, x, p: x[0] * x[1]),
    ("type: eltwise, operation: max", ["3x4x5", "3x4x5"], lambda torch, x, p: torch.maximum(x[0], x[1])),
    ("type: concat", ["3x4x5", "1x4x5", "2x4x5"], lambda torch, x, p: torch.cat(x, 1)),
    ("type: slice, from: 1, to: 3", ["4x5x6"], lambda torch, x, p: x[0][:, 1:3]),
    ("type: slice, axis: height, to: 3", ["4x5x6"], lambda torch, x, p: x[0][:, :, :3]),
    ("type: slice, axis: width, from: 5", ["4x5x6"], lambda torch, x, p: x[0][:, :, :, 5:]),
    ("type: flatten", ["4x5x6"], lambda torch, x, p: x[0].flatten(1)),
    ("type: reshape, shape: [2, 6, 10]", ["4x5x6"], lambda torch, x, p: x[0].reshape(-1, 2, 6, 10)),
    (
        "type: softmax_loss",
        ["7"],
        lambda torch, x, p: torch.nn.functional.cross_entropy(x[0].flatten(1), p["classes"], reduction="none"),
    ),
    ("type: hinge_loss", ["7"], lambda torch, x, p: hinge(torch, x, p).sum(1)),
    ("type: hinge_loss, squared: true", ["7"], lambda torch, x, p: hinge(torch, x, p).square().sum(1)),
    (
        "type: euclidean_loss",
        ["1"],
        lambda torch, x, p: torch.nn.functional.mse_loss(x[0].flatten(), p["numbers"], reduction="none") / 2,
    ),
]

NOT_COMPARED = {"dropout": "PyTorch drops other values"}
