"""The reference of bench/nifti.ts: nibabel and numpy, from a NIfTI file to canonical z-scored float32.

Reads one path per line from standard input and answers with the milliseconds that it took. A line "save PATH"
writes the last result, x fastest, as little-endian float32; "versions" answers with the versions in use.
"""

import platform
import sys
import time

import nibabel
import numpy as np

result = None
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "versions":
        answer = f"Python {platform.python_version()}, nibabel {nibabel.__version__}, numpy {np.__version__}"
    elif word == "save":
        result.astype("<f4").ravel(order="F").tofile(rest)
        answer = "saved"
    else:
        start = time.perf_counter()
        image = nibabel.as_closest_canonical(nibabel.load(line.strip()))
        result = image.get_fdata(dtype=np.float32)
        result = (result - result.mean()) / result.std()
        answer = str((time.perf_counter() - start) * 1e3)
    print(answer, flush=True)
