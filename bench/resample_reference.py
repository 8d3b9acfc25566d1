"""The reference of bench/resample.ts: scipy as nnU-Net calls it (through skimage.transform.resize) for images.

Reads one line of JSON per request from standard input, {"from", "to", "apart", "file", "save"}, shapes slowest axis first,
resamples the little-endian float32 of "file" and answers with the milliseconds of processor time that it took, which other
work on the machine changes less than the time of the clock. "versions" answers with the versions in use.
"""

import json
import platform
import sys
import time

import numpy as np
import scipy
from scipy.ndimage import map_coordinates, zoom


def resize(image, to):
    """skimage.transform.resize with order 3, mode "edge" and anti_aliasing False."""
    factors = [n / old for n, old in zip(to, image.shape)]
    found = zoom(image, factors, order=3, mode="nearest", grid_mode=True)
    return np.clip(found, image.min(), image.max())


def resample(image, to, apart):
    image = image.astype(float)
    if apart is None:
        return resize(image, to).astype(np.float32)
    plane = [n for axis, n in enumerate(to) if axis != apart]
    slices = np.stack([resize(part, plane) for part in np.moveaxis(image, apart, 0)])
    slices = np.moveaxis(slices, 0, apart)
    grid = np.mgrid[tuple(slice(n) for n in to)].astype(float)
    scale = [old / n for n, old in zip(to, slices.shape)]
    places = np.stack([s * (g + 0.5) - 0.5 for s, g in zip(scale, grid)])
    return map_coordinates(slices, places, order=0, mode="nearest").astype(np.float32)


for line in sys.stdin:
    if line.strip() == "versions":
        print(f"Python {platform.python_version()}, scipy {scipy.__version__}, numpy {np.__version__}", flush=True)
        continue
    request = json.loads(line)
    volume = np.fromfile(request["file"], "<f4").reshape(request["from"])
    start = time.process_time()
    result = resample(volume, request["to"], request["apart"])
    milliseconds = (time.process_time() - start) * 1e3
    result.astype("<f4").tofile(request["save"])
    print(milliseconds, flush=True)
