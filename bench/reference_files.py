"""What the benchmarks' PyTorch sides share: safetensors files of float32 as numpy arrays, and their peak memory."""
import json
import re
import resource
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


def peak_memory():
    """Bytes that this process had in memory at most; Linux's own count begins anew with a program, getrusage's does not."""
    try:
        with open("/proc/self/status") as status:
            return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1])
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
