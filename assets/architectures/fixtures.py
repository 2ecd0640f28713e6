#!/usr/bin/env python3
"""Writes tests/fixtures/architectures: state dicts of published models without their data (every tensor is one number, expanded).

    python assets/architectures/fixtures.py        with torch, torchvision and timm as make.py wants them
"""

from pathlib import Path

import timm
import torch
from torchvision import models

OUT = Path(__file__).parents[2] / "tests/fixtures/architectures"


def save(name, tensors):
    empty = {
        key: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape) if tensor.dim() else torch.zeros((), dtype=tensor.dtype)
        for key, tensor in tensors.items()
    }
    torch.save(empty, OUT / name)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        resnet = models.resnet18().state_dict()
        classes = models.resnet18(num_classes=7).state_dict()
        vit = timm.create_model("vit_tiny_patch16_224").state_dict()
        efficientnet = timm.create_model("efficientnet_b0").state_dict()
        wide = models.resnet18(width_per_group=64)
        wide.layer1 = torch.nn.Sequential(*[torch.nn.Linear(5, 5) for _ in range(3)])
    save("resnet18-5c106cde.pth", resnet)
    save("weights.pth", resnet)
    save("ten_classes.pth", classes)
    save("backbone.pth", {key: value for key, value in resnet.items() if not key.startswith("fc.")})
    save("prefixed.pth", {f"model.encoder.{key}": value for key, value in vit.items()})
    save("undecided.pth", efficientnet)
    save("old.pth", {key: value for key, value in resnet.items() if not key.endswith("num_batches_tracked")})
    save("another.pth", {f"stage{index}.{part}.weight": torch.empty(8, 8, device="meta") for index in range(12) for part in "abc"})


if __name__ == "__main__":
    main()
