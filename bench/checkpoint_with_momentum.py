"""Gives a checkpoint of nnU-Net the momentum of its optimizer, as its trainer saves it.

    python3 bench/checkpoint_with_momentum.py CHECKPOINT
"""
import sys

import torch

path = sys.argv[1]
checkpoint = torch.load(path)
weights = {tensor.data_ptr(): tensor for tensor in checkpoint["network_weights"].values()}
optimizer = torch.optim.SGD([torch.nn.Parameter(tensor) for tensor in weights.values()], 0.01, momentum=0.99)
for parameter in optimizer.param_groups[0]["params"]:
    parameter.grad = torch.randn_like(parameter)
optimizer.step()
checkpoint["optimizer_state"] = optimizer.state_dict()
torch.save(checkpoint, path)
