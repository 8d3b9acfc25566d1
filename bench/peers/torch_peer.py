"""PyTorch, the training step of bench/peers.ts and its convolutions; one line of JSON each way.

    python3 bench/peers/torch_peer.py MODE

cpu; on a CUDA GPU with cuDNN cuda (float32, no TF32), cuda-tf32, cuda-amp (automatic mixed precision in float16 with a
scaled loss), cuda-channels-last (float32, no TF32), cuda-amp-channels-last (both) and cuda-f64 (float64: what is right). The batch stays on the device from step to step, while ours is
sent anew each time. PEER_DEVICE=cpu runs the CUDA modes on the CPU to test them, cuda-amp then in bfloat16 and without a
scaler.
"""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from reference_files import read_safetensors

mode = sys.argv[1]
cuda_modes = ["cuda", "cuda-tf32", "cuda-amp", "cuda-channels-last"]  # those to be timed beside ours
name = "torch" if mode == "cpu" else f"torch-{mode}"  # of files
device = torch.device("cpu" if mode == "cpu" else os.environ.get("PEER_DEVICE", "cuda"))
on_cuda = device.type == "cuda"
amp = mode.startswith("cuda-amp")
half = torch.float16 if on_cuda else torch.bfloat16
real = torch.float64 if mode == "cuda-f64" else torch.float32
memory_format = torch.channels_last_3d if mode.endswith("channels-last") else torch.contiguous_format
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "cuda-tf32"
torch.backends.cudnn.benchmark = True
torch.set_num_threads(len(os.sched_getaffinity(0)))  # whatever the environment says


def placed(volume):
    return volume.to(device).contiguous(memory_format=memory_format)


def floats(folder, name, shape):
    """Of a file; without a folder random, for what is timed alone."""
    if folder is None:
        return placed(torch.rand(shape, device=device) - 0.5)
    return placed(torch.from_numpy(np.fromfile(f"{folder}/{name}.f32", "<f4").reshape(shape)).to(real))


def parameter(value):
    tensor = torch.tensor(value, dtype=real)
    return (placed(tensor) if tensor.dim() == 5 else tensor.to(device)).requires_grad_()


def synchronize():
    if on_cuda:
        torch.cuda.synchronize()


def timed(work):
    synchronize()
    start = time.perf_counter()
    result = work()
    synchronize()
    return result, (time.perf_counter() - start) * 1e3


def autocast():
    return torch.autocast(device.type, dtype=half, enabled=amp)


def grad_scaler(enabled):
    """PyTorch 2.3 renamed it."""
    if hasattr(torch, "amp") and hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


class Case:
    """A network of the reference architecture with weights under its PyTorch names."""

    def __init__(self, folder):
        case = json.load(open(f"{folder}/case.json"))
        x, y, z = case["size"]
        self.classes = case["classes"]
        tensors = read_safetensors(f"{folder}/weights.safetensors")
        self.weights = {name: parameter(value) for name, value in tensors.items()}
        self.levels = sum(name.startswith("encoder.") and name.endswith("conv1.weight") for name in tensors)
        self.image = floats(folder, "image", (case["batch"], 1, z, y, x))
        label = torch.from_numpy(np.fromfile(f"{folder}/label.u8", "u1").astype("i8")).to(device)
        one_hot = F.one_hot(label.reshape(case["batch"], z, y, x), self.classes).permute(0, 4, 1, 2, 3)
        self.one_hot = placed(one_hot.to(real))
        self.shares = torch.arange(1, self.classes + 1, device=device) / sum(range(1, self.classes + 1))
        self.optimizer = torch.optim.Adam(self.weights.values(), lr=1e-3)
        self.scaler = grad_scaler(enabled=amp and on_cuda)

    def block(self, prefix, value):
        w = self.weights
        for i in (1, 2):
            value = F.conv3d(value, w[f"{prefix}.conv{i}.weight"], w[f"{prefix}.conv{i}.bias"], padding=1)
            scale, shift = w[f"{prefix}.norm{i}.weight"], w[f"{prefix}.norm{i}.bias"]
            value = F.relu(F.batch_norm(value, None, None, scale, shift, training=True))
        return value

    def logits(self):
        w, skips, value = self.weights, [], self.image
        for level in range(self.levels):
            value = self.block(f"encoder.{level}", F.max_pool3d(value, 2) if level else value)
            skips.append(value)
        for level in range(self.levels - 2, -1, -1):
            up = F.conv_transpose3d(value, w[f"decoder.{level}.up.weight"], w[f"decoder.{level}.up.bias"], stride=2)
            value = self.block(f"decoder.{level}", torch.cat([skips[level], up], 1))
        return F.conv3d(value, w["head.weight"], w["head.bias"])

    def loss(self):
        p = self.logits().softmax(1, dtype=real)
        axes = (2, 3, 4)
        dice = (2 * (p * self.one_hot).sum(axes) + 1e-5) / (p.sum(axes) + self.one_hot.sum(axes) + 1e-5)
        return ((1 - dice).mean(0) * self.shares).sum()

    def forward(self):
        with torch.no_grad(), autocast():
            self.logits()

    def step(self):
        with autocast():
            loss = self.loss()
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()


case, convs = None, {}


def prepare(request):
    global case
    case = Case(request["folder"])
    loss, ms = timed(case.step)
    gradients = np.concatenate([weight.grad.cpu().numpy().ravel() for weight in case.weights.values()])
    gradients.astype("<f4").tofile(f"{request['folder']}/{name}.f32")
    return {"loss": loss, "firstMs": ms}


def step(_):
    loss, ms = timed(case.step)
    return {"loss": loss, "ms": ms}


def memory(_):
    """The most that tensors took, and that PyTorch took from the device for them."""
    if not on_cuda:
        return {}
    return {"tensorBytes": torch.cuda.max_memory_allocated(), "heldBytes": torch.cuda.max_memory_reserved()}


def prepare_conv(request):
    channels, folder = request["channels"], request["folder"]
    shape = (request["batch"], channels, *reversed(request["size"]))
    x, dy = floats(folder, "x", shape), floats(folder, "dy", shape)
    w = floats(folder, "w", (channels, channels, 3, 3, 3))
    if amp:  # as the network's are behind the first convolution
        x, dy, w = x.to(half), dy.to(half), w.to(half)

    def gradient(mask):
        ones = [1, 1, 1]
        return torch.ops.aten.convolution_backward(dy, x, w, None, ones, ones, ones, False, [0, 0, 0], 1, mask)

    convs["forward"] = lambda: F.conv3d(x, w, padding=1)
    convs["data gradient"] = lambda: gradient([True, False, False])[0]
    convs["weight gradient"] = lambda: gradient([False, True, False])[1]
    with torch.no_grad():
        for kind, work in convs.items() if folder is not None else ():
            work().float().cpu().numpy().astype("<f4").tofile(f"{folder}/{name}-{kind}.f32")
    return {}


def conv(request):
    with torch.no_grad():
        return {"ms": timed(convs[request["kind"]])[1]}


def version(_):
    cudnn = torch.backends.cudnn.version()
    where = f"{torch.cuda.get_device_name(device)}, cuDNN {cudnn}" if on_cuda else f"{torch.get_num_threads()} threads"
    offered = torch.cuda.is_available() or "PEER_DEVICE" in os.environ
    return {"version": f"PyTorch {torch.__version__}, {where}", "modes": cuda_modes if offered else []}


def answer(request):
    try:
        return handlers[request["do"]](request)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


handlers = {
    "version": version,
    "prepare": prepare,
    "step": step,
    "forward": lambda _: {"ms": timed(case.forward)[1]},
    "memory": memory,
    "prepareConv": prepare_conv,
    "conv": conv,
}
for line in sys.stdin:
    print("@" + json.dumps(answer(json.loads(line))), flush=True)
