"""PyTorch on the CPU: the training step of bench/peers.ts and its convolutions; one line of JSON each way."""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from reference_files import read_safetensors


def floats(folder, name, shape):
    return torch.from_numpy(np.fromfile(f"{folder}/{name}.f32", "<f4").reshape(shape))


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - start) * 1e3


class Case:
    """A network of the reference architecture with weights under its PyTorch names."""

    def __init__(self, folder):
        case = json.load(open(f"{folder}/case.json"))
        x, y, z = case["size"]
        self.classes = case["classes"]
        tensors = read_safetensors(f"{folder}/weights.safetensors")
        self.weights = {name: torch.tensor(value, requires_grad=True) for name, value in tensors.items()}
        self.levels = sum(name.startswith("encoder.") and name.endswith("conv1.weight") for name in tensors)
        self.image = floats(folder, "image", (case["batch"], 1, z, y, x))
        label = torch.from_numpy(np.fromfile(f"{folder}/label.u8", "u1").astype("i8"))
        self.one_hot = F.one_hot(label.reshape(case["batch"], z, y, x), self.classes).permute(0, 4, 1, 2, 3).float()
        self.shares = torch.arange(1, self.classes + 1) / sum(range(1, self.classes + 1))
        self.optimizer = torch.optim.Adam(self.weights.values(), lr=1e-3)

    def block(self, prefix, value):
        w = self.weights
        for i in (1, 2):
            value = F.conv3d(value, w[f"{prefix}.conv{i}.weight"], w[f"{prefix}.conv{i}.bias"], padding=1)
            scale, shift = w[f"{prefix}.norm{i}.weight"], w[f"{prefix}.norm{i}.bias"]
            value = F.relu(F.batch_norm(value, None, None, scale, shift, training=True))
        return value

    def step(self):
        w, skips, value = self.weights, [], self.image
        for level in range(self.levels):
            value = self.block(f"encoder.{level}", F.max_pool3d(value, 2) if level else value)
            skips.append(value)
        for level in range(self.levels - 2, -1, -1):
            up = F.conv_transpose3d(value, w[f"decoder.{level}.up.weight"], w[f"decoder.{level}.up.bias"], stride=2)
            value = self.block(f"decoder.{level}", torch.cat([skips[level], up], 1))
        p = F.conv3d(value, w["head.weight"], w["head.bias"]).softmax(1)
        axes = (2, 3, 4)
        dice = (2 * (p * self.one_hot).sum(axes) + 1e-5) / (p.sum(axes) + self.one_hot.sum(axes) + 1e-5)
        loss = ((1 - dice).mean(0) * self.shares).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


torch.set_num_threads(len(os.sched_getaffinity(0)))  # whatever the environment says
case, convs = None, {}


def prepare(request):
    global case
    case = Case(request["folder"])
    loss, ms = timed(case.step)
    gradients = np.concatenate([weight.grad.numpy().ravel() for weight in case.weights.values()])
    gradients.astype("<f4").tofile(f"{request['folder']}/torch.f32")
    return {"loss": loss, "firstMs": ms}


def prepare_conv(request):
    channels, folder = request["channels"], request["folder"]
    shape = (request["batch"], channels, *reversed(request["size"]))
    x, dy = floats(folder, "x", shape), floats(folder, "dy", shape)
    w = floats(folder, "w", (channels, channels, 3, 3, 3))

    def gradient(mask):
        ones = [1, 1, 1]
        return torch.ops.aten.convolution_backward(dy, x, w, None, ones, ones, ones, False, [0, 0, 0], 1, mask)

    convs["forward"] = lambda: F.conv3d(x, w, padding=1)
    convs["data gradient"] = lambda: gradient([True, False, False])[0]
    convs["weight gradient"] = lambda: gradient([False, True, False])[1]
    with torch.no_grad():
        for name, work in convs.items():
            work().numpy().astype("<f4").tofile(f"{folder}/torch-{name}.f32")
    return {}


def conv(request):
    with torch.no_grad():
        return {"ms": timed(convs[request["kind"]])[1]}


handlers = {
    "version": lambda _: {"version": f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"},
    "prepare": prepare,
    "step": lambda _: {"ms": timed(case.step)[1]},
    "prepareConv": prepare_conv,
    "conv": conv,
}
for line in sys.stdin:
    request = json.loads(line)
    print("@" + json.dumps(handlers[request["do"]](request)), flush=True)
