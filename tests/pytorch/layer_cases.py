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


def embedding(torch, x, p):
    ids = x[0].flatten(1)
    return torch.nn.functional.embedding(ids.long(), p["weight"]) + 0 * ids[:, :, None]  # for ids have the gradient 0


def self_attention(heads, causal):
    def attend(torch, x, p):
        steps = x[0].squeeze(2).transpose(0, 1)
        mask = torch.ones(len(steps), len(steps)).triu(1).bool() if causal else None
        weights = [p[name] for name in ("in_proj_weight", "in_proj_bias")]
        values, _ = torch.nn.functional.multi_head_attention_forward(
            *[steps] * 3, steps.shape[2], heads, *weights, None, None, False, 0, p["out_proj.weight"], p["out_proj.bias"],
            attn_mask=mask
        )
        return values.transpose(0, 1)

    return attend


def recurrent(cell, outputs, last):
    def run(torch, x, p):
        steps = x[0].squeeze(2)
        first = torch.zeros(1, len(steps), outputs)
        weights = [p[name + "_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        state = (first, first) if cell == "lstm" else first
        values = getattr(torch, cell)(steps, state, weights, True, 1, 0.0, True, False, True)[0]
        return values[:, -1] if last else values

    return run


def sigmoid_loss(torch, x, p):
    scores = x[0].flatten(1)
    classes = p["classes"]
    targets = classes[:, None] if scores.shape[1] == 1 else torch.nn.functional.one_hot(classes, scores.shape[1])
    losses = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets.float(), reduction="none")
    return losses.sum(1)


def contrastive_loss(margin):
    def loss(torch, x, p):
        distances = torch.nn.functional.pairwise_distance(x[0].flatten(1), x[1].flatten(1), eps=0)
        return torch.where(p["classes"] == 1, distances, torch.relu(margin - distances)).square() / 2

    return loss


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
    (
        "type: inner_product, outputs: 7, per_step: true",
        ["6x1x5"],
        lambda torch, x, p: torch.nn.functional.linear(x[0], p["weight"], p["bias"]),
    ),
    ("type: embedding, vocabulary: 10, outputs: 4", ["6<10"], embedding),
    ("type: self_attention, heads: 1", ["6x1x5"], self_attention(1, causal=False)),
    ("type: self_attention, heads: 4", ["9x1x12"], self_attention(4, causal=False)),
    ("type: self_attention, heads: 3, causal: true", ["9x1x12"], self_attention(3, causal=True)),
    ("type: lstm, outputs: 7", ["6x1x5"], recurrent("lstm", 7, last=False)),
    ("type: lstm, outputs: 7, last: true", ["6"], recurrent("lstm", 7, last=True)),
    ("type: gru, outputs: 7", ["6x1x5"], recurrent("gru", 7, last=False)),
    ("type: gru, outputs: 7, last: true", ["6"], recurrent("gru", 7, last=True)),
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
    ("type: sigmoid_loss", ["1"], sigmoid_loss),
    ("type: sigmoid_loss", ["5"], sigmoid_loss),
    ("type: contrastive_loss", ["2x1x3", "2x1x3"], contrastive_loss(1)),
    ("type: contrastive_loss, margin: 6", ["2x1x3", "2x1x3"], contrastive_loss(6)),
]

NOT_COMPARED = {"dropout": "PyTorch drops other values"}
