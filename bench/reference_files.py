"""What the benchmarks' PyTorch sides read: safetensors files of float32 as numpy arrays."""
import json
import struct

import numpy as np


def read_safetensors(path):
    """name -> array, in the file's order."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).copy()
        for name, entry in header.items()
        if name != "__metadata__"
    }
