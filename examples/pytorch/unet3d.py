"""The networks of unet3d-gpu in PyTorch (1.13 or later, tried with 1.13 and 2.6), one file to copy.

    unet3d-gpu export run/model.safetensors --to pytorch --out model.pth

    from unet3d import load
    net, description = load("model.pth")      # in evaluation; description["labels"], ["preprocessing"], ...
    logits = net(image)                       # float32 [sample][channel][z][y][x] -> [sample][class][z][y][x]

Lengths have to be multiples of the product of the strides (16, 16, 8 and the like): pad with zeros at the far ends.
The image is what `description["preprocessing"]` makes of a volume; docs/formats.md of unet3d-gpu
says what its entries mean, docs/schemas/model.json is their schema.
"""

import json
import zipfile

import torch
import torch.nn.functional as F
from torch.nn import AvgPool3d, BatchNorm3d, Conv3d, ConvTranspose3d, InstanceNorm3d, MaxPool3d, Module, ModuleDict, ModuleList

ONES = (1, 1, 1)


def load(path):
    """The network in a file that `unet3d-gpu export --to pytorch` wrote, and its description as a dict."""
    with zipfile.ZipFile(path) as archive:
        description = json.loads(archive.read("archive/unet3d-gpu.json"))
    net = UNet(description["config"])
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval(), description


def zyx(size):
    """Configurations count along x, y, z, PyTorch along z, y, x."""
    return tuple(reversed(size))


class Normed(Module):
    """Convolutions, each with its norm and activation; the last may be left without activation."""

    def __init__(self, config, channels, kernel, stride=ONES, numbers=(1,), bias=None, last=True):
        super().__init__()
        self.numbers, self.last = numbers, last
        self.slope = config.get("slope", 0.01) if config["activation"] == "leakyRelu" else 0
        bias = config.get("bias", True) if bias is None else bias
        affine = config.get("scaleAndShift", True)
        norm = BatchNorm3d if config["norm"] == "batch" else InstanceNorm3d
        for number, inputs, outputs in zip(numbers, channels, channels[1:]):
            step = zyx(stride) if number == numbers[0] else ONES
            conv = Conv3d(inputs, outputs, zyx(kernel), step, [n // 2 for n in zyx(kernel)], bias=bias)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"norm{number}", norm(outputs, affine=affine))

    def forward(self, x):
        for number in self.numbers:
            x = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(x))
            if self.last or number != self.numbers[-1]:
                x = F.leaky_relu(x, self.slope)
        return x


class Residual(Normed):
    """Two convolutions, plus their input: pooled where they stride, projected where channels change."""

    def __init__(self, config, inputs, outputs, kernel, stride):
        super().__init__(config, [inputs, outputs, outputs], kernel, stride, (1, 2), last=False)
        self.pool = AvgPool3d(zyx(stride), zyx(stride)) if max(stride) > 1 else None
        projected = inputs != outputs
        self.skip = Normed(config, [inputs, outputs], ONES, numbers=("",), bias=False, last=False) if projected else None

    def forward(self, x):
        skip = self.pool(x) if self.pool else x
        skip = self.skip(skip) if self.skip else skip
        return F.leaky_relu(super().forward(x) + skip, self.slope)


class Blocks(ModuleDict):
    """Residual blocks, one after the other."""

    def forward(self, x):
        for block in self.values():
            x = block(x)
        return x


class Decoder(Normed):
    """What comes from below, transposed, behind the skip; then plain blocks."""

    def __init__(self, config, below, channels, kernel, stride, count, classes):
        super().__init__(config, [2 * channels] + [channels] * count, kernel, numbers=range(1, count + 1))
        self.up = ConvTranspose3d(below, channels, zyx(stride), zyx(stride), bias=config.get("bias", True))
        if classes:
            self.head = Conv3d(channels, classes, 1)

    def forward(self, skip, x):
        return super().forward(torch.cat([skip, self.up(x)], 1))


# What a configuration may say for a network of this file.
KNOWN = {
    "inChannels", "classes", "features", "norm", "activation", "slope", "strides", "kernels", "block", "encoderBlocks",
    "decoderBlocks", "down", "bias", "scaleAndShift", "deepSupervision", "heads",
}


def require_known(config):
    """Networks that come from MONAI have parts that those of this file have not."""
    others = [f"{key} {value!r}" for key, value in config.items() if key not in KNOWN]
    others += [f"norm {config['norm']!r}"] * (config["norm"] not in ("batch", "instance"))
    others += [f"activation {config['activation']!r}"] * (config["activation"] not in ("relu", "leakyRelu"))
    if others:
        raise ValueError(
            f"this network has {', '.join(others)}, which unet3d.py does not make: export it with --to monai and load "
            "model.pt into the class of MONAI that network.json beside it names"
        )


class UNet(Module):
    """The network of a configuration, with the names that model files have; level 0 is full resolution."""

    def __init__(self, config):
        super().__init__()
        require_known(config)
        features = config["features"]
        levels = len(features)
        strides = [ONES] + config.get("strides", [(2, 2, 2)] * (levels - 1))
        kernels = config.get("kernels", [(3, 3, 3)] * levels)
        residual = config.get("block") == "residual"
        encoder = config.get("encoderBlocks", [1 if residual else 2] * levels)
        decoder = config.get("decoderBlocks", [2] * (levels - 1))
        pooled = config.get("down", "pool") == "pool"
        heads = config.get("heads", max(1, levels - 2) if config.get("deepSupervision") else 1)

        self.pools = [MaxPool3d(zyx(s), zyx(s)) if pooled and max(s) > 1 else None for s in strides]
        self.encoder = ModuleDict()
        inputs = config["inChannels"]
        if residual:
            self.encoder["stem"] = Normed(config, [inputs, features[0]], kernels[0])
            inputs = features[0]
        for level, channels in enumerate(features):
            kernel, stride = kernels[level], ONES if pooled else strides[level]
            if residual:
                blocks = Blocks()
                for index in range(encoder[level]):
                    first = index == 0
                    blocks[f"block{index + 1}"] = Residual(
                        config, inputs if first else channels, channels, kernel, stride if first else ONES
                    )
            else:
                count = encoder[level]
                blocks = Normed(config, [inputs] + [channels] * count, kernel, stride, range(1, count + 1))
            self.encoder[str(level)] = blocks
            inputs = channels
        self.decoder = ModuleList(
            Decoder(
                config,
                features[level + 1],
                features[level],
                kernels[level],
                strides[level + 1],
                decoder[level],
                config["classes"] if 0 < level < heads else 0,
            )
            for level in range(levels - 1)
        )
        self.head = Conv3d(features[0], config["classes"], 1)

    def forward(self, x):
        if "stem" in self.encoder:
            x = self.encoder["stem"](x)
        skips = []
        for level, pool in enumerate(self.pools):
            x = self.encoder[str(level)](pool(x) if pool else x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](skips[level], x)
        return self.head(x)
