#!/usr/bin/env python3
"""Make demo.pt: `python3 assets/demo/make.py`, with torch 2.13.

The model in scene.py is built from a fixed seed, every parameter and buffer is drawn at random (fresh layers hide
mistakes: zero biases, unit scales), it is run once to show that it works, and the whole module is pickled.
"""

import sys
from pathlib import Path

import torch
from torch import nn

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
from scene import Scene  # noqa: E402


def randomise(model):
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            scale = 1.0 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
            parameter.data.normal_(1.0 if name == "weight" and parameter.dim() == 1 else 0.0, 0.4 * scale if parameter.dim() == 1 else scale)
        for name, buffer in module.named_buffers(recurse=False):
            if name == "running_var":
                buffer.uniform_(0.3, 2.0)
            elif buffer.is_floating_point():
                buffer.normal_(0.0, 0.7)


def main():
    torch.manual_seed(20)
    model = Scene().eval()
    randomise(model)
    with torch.no_grad():
        output = model(torch.randn(2, 3, 32, 40), torch.randn(2, 2, 48), torch.randint(0, 40, (2, 9)))
    assert output.shape == (2, 7) and torch.isfinite(output).all()
    # Files of torch before 1.12 hold GELUs without `approximate`: what such a layer computes is not in the file.
    del model.caption.act.approximate
    torch.save(model, FOLDER / "demo.pt")
    print(f"{FOLDER / 'demo.pt'}: {(FOLDER / 'demo.pt').stat().st_size} bytes, {sum(p.numel() for p in model.parameters())} parameters")


main()
