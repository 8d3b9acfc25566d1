"""The step of bench/full-size.ts with PyTorch on the CPU, and the comparison of loss and gradients.

    python3 bench/full_size_reference.py FOLDER [float64]
"""
import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from reference_files import peak_memory, read_safetensors


folder = sys.argv[1]
precision = torch.float64 if "float64" in sys.argv else torch.float32
step = json.load(open(f"{folder}/step.json"))
x, y, z = step["size"]
batch, features = step["batch"], step["features"]
weights = {name: torch.tensor(value, dtype=precision, requires_grad=True) for name, value in read_safetensors(f"{folder}/weights.safetensors").items()}
image = torch.from_numpy(np.fromfile(f"{folder}/image.f32", "<f4").reshape(batch, 1, z, y, x)).to(precision)
label = torch.from_numpy(np.fromfile(f"{folder}/label.u8", "u1").reshape(batch, z, y, x).astype("i8"))


def block(prefix, value):
    for i in (1, 2):
        value = F.conv3d(value, weights[f"{prefix}.conv{i}.weight"], weights[f"{prefix}.conv{i}.bias"], padding=1)
        value = F.batch_norm(value, None, None, weights[f"{prefix}.norm{i}.weight"], weights[f"{prefix}.norm{i}.bias"], training=True)
        value = F.relu(value)
    return value


started = time.time()
skips, value = [], image
for level in range(len(features)):
    value = block(f"encoder.{level}", F.max_pool3d(value, 2) if level else value)
    skips.append(value)
for level in range(len(features) - 2, -1, -1):
    up = F.conv_transpose3d(value, weights[f"decoder.{level}.up.weight"], weights[f"decoder.{level}.up.bias"], stride=2)
    value = block(f"decoder.{level}", torch.cat([skips[level], up], 1))
del skips
probabilities = F.conv3d(value, weights["head.weight"], weights["head.bias"]).softmax(1)
loss = 0
for c in range(6):
    p, g = probabilities[:, c], (label == c).to(precision)
    axes = (1, 2, 3)
    dice = (2 * (p * g).sum(axes) + 1e-5) / (p.sum(axes) + g.sum(axes) + 1e-5)
    loss = loss + (c + 1) / 21 * (1 - dice).mean()
loss.backward()
seconds = time.time() - started

if len(sys.argv) > 3:  # keep PyTorch's gradients, to hold other runs against them
    np.savez(sys.argv[3], **{name: weight.grad.numpy() for name, weight in weights.items()})
ours = read_safetensors(f"{folder}/gradients.safetensors")
worst, worst_bias = (0, ""), (0, "")
for name, weight in weights.items():
    reference = weight.grad.numpy().astype("f8")
    difference = np.linalg.norm(ours[name] - reference)
    if ".conv" in name and name.endswith(".bias"):
        # A norm follows: the gradient is zero but for rounding.
        scale = np.linalg.norm(weights[name.replace("bias", "weight")].grad.numpy())
        worst_bias = max(worst_bias, (float(np.linalg.norm(ours[name]) / scale), name))
    else:
        worst = max(worst, (float(difference / np.linalg.norm(reference)), name))
print(json.dumps({
    "torch": f"{torch.__version__}, {precision}",
    "threads": torch.get_num_threads(),
    "lossPyTorch": float(loss),
    "loss": step["loss"],
    "worstGradient": worst,
    "worstBiasBeforeNorm": worst_bias,
    "secondsPyTorch": seconds,
    "peakResidentGiBPyTorch": peak_memory() / 2**30,
}, indent=2))
