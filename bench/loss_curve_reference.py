"""The training of bench/loss-curve.ts with PyTorch on the CPU, from its weights and on its batches; writes torch.json.

    python3 bench/loss_curve_reference.py FOLDER
"""
import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from reference_files import read_safetensors


folder = sys.argv[1]
about = json.load(open(f"{folder}/about.json"))
x, y, z = about["size"]
steps, batch, classes = about["steps"], about["batchSize"], about["classes"]
weights = {
    name: torch.tensor(value, requires_grad=True)
    for name, value in read_safetensors(f"{folder}/weights.safetensors").items()
}
levels = sum(name.startswith("encoder.") and name.endswith("conv1.weight") for name in weights)


def volumes(name, shape):
    images = np.memmap(f"{folder}/{name}images.f32", "<f4", "r").reshape(-1, *shape[:1], 1, *shape[1:])
    labels = np.memmap(f"{folder}/{name}labels.u8", "u1", "r").reshape(-1, *shape)
    for image, label in zip(images, labels):
        yield torch.from_numpy(np.array(image)), torch.from_numpy(label.astype("i8"))


def block(prefix, value):
    for i in (1, 2):
        value = F.conv3d(value, weights[f"{prefix}.conv{i}.weight"], weights[f"{prefix}.conv{i}.bias"], padding=1)
        scale, shift = weights[f"{prefix}.norm{i}.weight"], weights[f"{prefix}.norm{i}.bias"]
        value = F.relu(F.instance_norm(value, weight=scale, bias=shift))
    return value


def network(value):
    skips = []
    for level in range(levels):
        value = block(f"encoder.{level}", F.max_pool3d(value, 2) if level else value)
        skips.append(value)
    for level in range(levels - 2, -1, -1):
        up = weights[f"decoder.{level}.up.weight"], weights[f"decoder.{level}.up.bias"]
        value = block(f"decoder.{level}", torch.cat([skips[level], F.conv_transpose3d(value, *up, stride=2)], 1))
    return F.conv3d(value, weights["head.weight"], weights["head.bias"])


def loss_of(logits, label):
    """Mean over samples and classes of 1 - soft Dice, plus cross-entropy; voxels labelled 255 take no part."""
    p, axes = logits.softmax(1), (1, 2, 3)
    seen = (label != 255).float()
    loss = F.cross_entropy(logits, label, ignore_index=255)
    for c in range(classes):
        pc, gc = p[:, c] * seen, (label == c).float()
        dice = (2 * (pc * gc).sum(axes) + 1e-5) / (pc.sum(axes) + gc.sum(axes) + 1e-5)
        loss = loss + (1 - dice).mean() / classes
    return loss


def hard_dice(predicted, label):
    """Per class; None where neither has it."""
    predicted, label = predicted[label != 255], label[label != 255]
    result = []
    for c in range(classes):
        total = (predicted == c).sum() + (label == c).sum()
        result.append(float(2 * ((predicted == c) & (label == c)).sum() / total) if total else None)
    return result


optimizer = torch.optim.Adam(weights.values())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, about["maxLearningRate"], total_steps=steps)
losses, rates, beta1 = [], [], []
started = time.time()
for step, (image, label) in enumerate(volumes("", (batch, z, y, x))):
    group = optimizer.param_groups[0]
    rates.append(group["lr"])
    beta1.append(group["betas"][0])
    loss = loss_of(network(image), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if step + 1 < steps:
        schedule.step()
    if step % 24 == 0:
        print(f"  PyTorch {torch.__version__}, step {step}: {losses[-1]:.4f}", flush=True)
assert len(losses) == steps, f"{len(losses)} batches for {steps} steps"
seconds = time.time() - started
with torch.no_grad():
    dice = [hard_dice(network(image).argmax(1), label) for image, label in volumes("test-", (1, z, y, x))]
json.dump(
    {"losses": losses, "learningRates": rates, "beta1": beta1, "dice": dice, "seconds": seconds},
    open(f"{folder}/torch.json", "w"),
)
