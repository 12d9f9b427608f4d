"""Nets of the literature, as their users have them for Caffe: text of train_test.prototxt and solver.prototxt."""


def layer(name, kind, bottom, top, *sections):
    """A layer in text; `bottom` and `top` are words separated by blanks."""
    lines = [f'name: "{name}"', f'type: "{kind}"']
    lines += [f'bottom: "{blob}"' for blob in bottom.split()]
    lines += [f'top: "{blob}"' for blob in top.split()]
    lines += sections
    return "layer {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


def data(batch, phase, transform="", source="samples"):
    section = f'data_param {{ source: "{source}_{phase.lower()}_lmdb" batch_size: {batch} backend: LMDB }}'
    return layer("data", "Data", "", "data label", f"include {{ phase: {phase} }}", f"transform_param {{ {transform} }}", section)


RATES = ("param { lr_mult: 1 }", "param { lr_mult: 2 }")
DECAYS = ("param { lr_mult: 1 decay_mult: 1 }", "param { lr_mult: 2 decay_mult: 0 }")
XAVIER = 'weight_filler { type: "xavier" } bias_filler { type: "constant" }'


def gaussian(std, bias=0):
    return f'weight_filler {{ type: "gaussian" std: {std} }} bias_filler {{ type: "constant" value: {bias} }}'


def convolution(name, bottom, outputs, kernel, more="", filler=XAVIER, params=RATES):
    return layer(name, "Convolution", bottom, name, *params,
                 f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} {filler} }}")


def pooling(name, bottom, method, kernel, stride, more=""):
    return layer(name, "Pooling", bottom, name,
                 f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} {more} }}")


def inner_product(name, bottom, outputs, filler=XAVIER, params=RATES):
    return layer(name, "InnerProduct", bottom, name, *params, f"inner_product_param {{ num_output: {outputs} {filler} }}")


def relu(name, blob):
    return layer(name, "ReLU", blob, blob)


def dropout(name, blob, ratio):
    return layer(name, "Dropout", blob, blob, f"dropout_param {{ dropout_ratio: {ratio} }}")


def lrn(name, bottom, size, alpha, beta=0.75, more=""):
    return layer(name, "LRN", bottom, name, f"lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta} {more} }}")


def ends(scores):
    accuracy = layer("accuracy", "Accuracy", f"{scores} label", "accuracy", "include { phase: TEST }")
    return accuracy + layer("loss", "SoftmaxWithLoss", f"{scores} label", "loss")


def lenet():
    return ('name: "LeNet"\n' + data(64, "TRAIN", "scale: 0.00390625") + data(100, "TEST", "scale: 0.00390625")
            + convolution("conv1", "data", 20, 5, "stride: 1") + pooling("pool1", "conv1", "MAX", 2, 2)
            + convolution("conv2", "pool1", 50, 5, "stride: 1") + pooling("pool2", "conv2", "MAX", 2, 2)
            + inner_product("ip1", "pool2", 500) + relu("relu1", "ip1") + inner_product("ip2", "ip1", 10) + ends("ip2"))


LENET_SOLVER = """
net: "examples/mnist/lenet_train_test.prototxt"
test_iter: 100
test_interval: 100
base_lr: 0.01
momentum: 0.9
weight_decay: 0.0005
lr_policy: "inv"
gamma: 0.0001
power: 0.75
display: 100
max_iter: 300
snapshot: 5000
snapshot_prefix: "examples/mnist/lenet"
solver_mode: CPU
"""


def cifar10_quick():
    return ('name: "CIFAR10_quick"\n' + data(100, "TRAIN", 'mean_file: "mean.binaryproto"')
            + data(100, "TEST", 'mean_file: "mean.binaryproto"')
            + convolution("conv1", "data", 32, 5, "pad: 2 stride: 1", gaussian(0.0001)) + pooling("pool1", "conv1", "MAX", 3, 2)
            + relu("relu1", "pool1")
            + convolution("conv2", "pool1", 32, 5, "pad: 2 stride: 1", gaussian(0.01)) + relu("relu2", "conv2")
            + pooling("pool2", "conv2", "AVE", 3, 2)
            + convolution("conv3", "pool2", 64, 5, "pad: 2 stride: 1", gaussian(0.01)) + relu("relu3", "conv3")
            + pooling("pool3", "conv3", "AVE", 3, 2)
            + inner_product("ip1", "pool3", 64, gaussian(0.1)) + inner_product("ip2", "ip1", 10, gaussian(0.1)) + ends("ip2"))


CIFAR10_QUICK_SOLVER = """
net: "cifar10_quick_train_test.prototxt"
test_iter: 100
test_interval: 20
base_lr: 0.001
momentum: 0.9
weight_decay: 0.004
lr_policy: "fixed"
max_iter: 40
solver_mode: GPU
"""


def cifar10_full():
    norm = "norm_region: WITHIN_CHANNEL"
    return ('name: "CIFAR10_full"\n' + data(100, "TRAIN") + data(100, "TEST")
            + convolution("conv1", "data", 32, 5, "pad: 2 stride: 1", gaussian(0.0001)) + pooling("pool1", "conv1", "MAX", 3, 2)
            + relu("relu1", "pool1") + lrn("norm1", "pool1", 3, 5e-05, 0.75, norm)
            + convolution("conv2", "norm1", 32, 5, "pad: 2 stride: 1", gaussian(0.01)) + relu("relu2", "conv2")
            + pooling("pool2", "conv2", "AVE", 3, 2) + lrn("norm2", "pool2", 3, 5e-05, 0.75, norm)
            + convolution("conv3", "norm2", 64, 5, "pad: 2 stride: 1", gaussian(0.01)) + relu("relu3", "conv3")
            + pooling("pool3", "conv3", "AVE", 3, 2)
            + inner_product("ip1", "pool3", 10, gaussian(0.01), ("param { lr_mult: 1 decay_mult: 250 }", "param { lr_mult: 2 decay_mult: 0 }"))
            + ends("ip1"))


def alexnet():
    """With its convolutions in two groups; for deployment: the samples' shape is in the net."""
    text = 'name: "AlexNet"\n' + layer("data", "Input", "", "data", "input_param { shape: { dim: 10 dim: 3 dim: 227 dim: 227 } }")

    def block(name, bottom, outputs, kernel, more):
        return convolution(name, bottom, outputs, kernel, more, gaussian(0.01), DECAYS) + relu("relu" + name[-1], name)

    text += block("conv1", "data", 96, 11, "stride: 4") + lrn("norm1", "conv1", 5, 0.0001) + pooling("pool1", "norm1", "MAX", 3, 2)
    text += block("conv2", "pool1", 256, 5, "pad: 2 group: 2") + lrn("norm2", "conv2", 5, 0.0001) + pooling("pool2", "norm2", "MAX", 3, 2)
    text += block("conv3", "pool2", 384, 3, "pad: 1") + block("conv4", "conv3", 384, 3, "pad: 1 group: 2")
    text += block("conv5", "conv4", 256, 3, "pad: 1 group: 2") + pooling("pool5", "conv5", "MAX", 3, 2)
    for name, bottom in (("fc6", "pool5"), ("fc7", "fc6")):
        text += inner_product(name, bottom, 4096, gaussian(0.005, 0.1), DECAYS) + relu("relu" + name[-1], name)
        text += dropout("drop" + name[-1], name, 0.5)
    return text + inner_product("fc8", "fc7", 1000, gaussian(0.01), DECAYS) + layer("prob", "Softmax", "fc8", "prob")


INCEPTIONS = {  # 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, of the pool
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet():
    """With the two heads that help training, each of which counts 0.3."""
    text = 'name: "GoogleNet"\n' + data(32, "TRAIN", "mirror: true crop_size: 224 mean_value: 104 mean_value: 117 mean_value: 123")

    def unit(name, bottom, outputs, kernel, more=""):
        return convolution(name, bottom, outputs, kernel, more, params=DECAYS) + relu(name.replace("/", "/relu_"), name)

    def inception(name, bottom):
        one, three_in, three, five_in, five, pool = INCEPTIONS[name]
        at = f"inception_{name}"
        parts = unit(f"{at}/1x1", bottom, one, 1)
        parts += unit(f"{at}/3x3_reduce", bottom, three_in, 1) + unit(f"{at}/3x3", f"{at}/3x3_reduce", three, 3, "pad: 1")
        parts += unit(f"{at}/5x5_reduce", bottom, five_in, 1) + unit(f"{at}/5x5", f"{at}/5x5_reduce", five, 5, "pad: 2")
        parts += pooling(f"{at}/pool", bottom, "MAX", 3, 1, "pad: 1") + unit(f"{at}/pool_proj", f"{at}/pool", pool, 1)
        return parts + layer(f"{at}/output", "Concat", f"{at}/1x1 {at}/3x3 {at}/5x5 {at}/pool_proj", f"{at}/output")

    def head(name, bottom):
        at = f"{name}/ave_pool"
        parts = pooling(at, bottom, "AVE", 5, 3) + unit(f"{name}/conv", at, 128, 1)
        parts += inner_product(f"{name}/fc", f"{name}/conv", 1024, params=DECAYS) + relu(f"{name}/relu_fc", f"{name}/fc")
        parts += dropout(f"{name}/drop_fc", f"{name}/fc", 0.7) + inner_product(f"{name}/classifier", f"{name}/fc", 1000, params=DECAYS)
        return parts + layer(f"{name}/loss", "SoftmaxWithLoss", f"{name}/classifier label", f"{name}/loss1", "loss_weight: 0.3")

    text += unit("conv1/7x7_s2", "data", 64, 7, "pad: 3 stride: 2") + pooling("pool1/3x3_s2", "conv1/7x7_s2", "MAX", 3, 2)
    text += lrn("pool1/norm1", "pool1/3x3_s2", 5, 0.0001) + unit("conv2/3x3_reduce", "pool1/norm1", 64, 1)
    text += unit("conv2/3x3", "conv2/3x3_reduce", 192, 3, "pad: 1") + lrn("conv2/norm2", "conv2/3x3", 5, 0.0001)
    text += pooling("pool2/3x3_s2", "conv2/norm2", "MAX", 3, 2)
    before = "pool2/3x3_s2"
    for name in INCEPTIONS:
        text += inception(name, before)
        before = f"inception_{name}/output"
        if name in ("3b", "4e"):
            pool = f"pool{int(name[0])}/3x3_s2"
            text += pooling(pool, before, "MAX", 3, 2)
            before = pool
        if name in ("4a", "4d"):
            text += head("loss1" if name == "4a" else "loss2", before)
    text += pooling("pool5/7x7_s1", before, "AVE", 7, 1) + dropout("pool5/drop_7x7_s1", "pool5/7x7_s1", 0.4)
    text += inner_product("loss3/classifier", "pool5/7x7_s1", 1000, params=DECAYS)
    return text + layer("loss3/loss3", "SoftmaxWithLoss", "loss3/classifier label", "loss3/loss3")
