"""A window of bench/presets.ts with PyTorch on the CPU.

    python3 bench/presets_reference.py FOLDER X,Y,Z RUNS
"""
import json
import os
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "examples", "pytorch"))
from reference_files import peak_memory  # noqa: E402
from unet3d import load  # noqa: E402

folder, size, runs = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], int(sys.argv[3])
net, _ = load(f"{folder}/model.pth")
image = torch.randn(1, 1, *reversed(size), generator=torch.Generator().manual_seed(7))
seconds = []
with torch.no_grad():
    for run in range(runs + 1):
        started = time.time()
        net(image)
        if run:
            seconds.append(time.time() - started)
print(json.dumps({"seconds": seconds, "peakBytes": peak_memory()}))
