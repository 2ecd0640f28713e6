"""Image models of the kinds that people write. Labels: see tests/suite/labelled.rs."""

import math
from typing import List, Optional

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint as remember


class Preact(nn.Module):
    """A block whose activation overwrites what the shortcut needs."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)
        self.late = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        y = self.norm(x)
        y = self.act(y)
        z = self.late(x)  # blocker: inplace=True
        y = self.conv(y) + self.conv(z)
        y += shortcut  # blocker: +=
        return y + x


class SqueezeExcite(nn.Module):
    def __init__(self, width, squeeze):
        super().__init__()
        self.reduce = nn.Conv2d(width, squeeze, 1)
        self.expand = nn.Conv2d(squeeze, width, 1)

    def forward(self, x):
        s = F.adaptive_avg_pool2d(x, 1)  # op: F.adaptive_avg_pool2d
        s = F.relu(self.reduce(s), inplace=True)  # op: F.relu # blocker: inplace=True
        s = torch.sigmoid(self.expand(s))  # op: torch.sigmoid
        return x * s


class Patches(nn.Module):
    def __init__(self, size=16, width=192, drop=0.1):
        super().__init__()
        self.size = size
        self.drop = drop
        self.project = nn.Conv2d(3, width, size, stride=size)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 197, width))
        self.names = []

    def resize(self, h: int, w: int):
        side = int(math.sqrt(self.position.shape[1] - 1))
        grid = self.position[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)  # op: x.reshape, x.permute
        grid = F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False)  # op: F.interpolate
        grid = grid.flatten(2).transpose(1, 2)  # op: x.flatten, x.transpose
        return torch.cat([self.position[:, :1], grid], dim=1)  # op: torch.cat

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        assert h % self.size == 0, f"height {h} does not divide"  # none
        if x.shape[-1] != w or c != 3:  # none
            raise ValueError("three channels")
        x = self.project(x)
        x = x.flatten(2).transpose(1, 2)  # op: x.flatten, x.transpose
        token = self.token.expand(n, -1, -1)  # op: x.expand
        x = torch.cat((token, x), dim=1)  # op: torch.cat
        x = x + self.resize(h // self.size, w // self.size)
        x = F.dropout(x, self.drop, self.training)  # op: F.dropout
        self.names += ["patches"]  # none
        return x


class Windows(nn.Module):
    """Shifted windows with a mask that is made on the way."""

    def __init__(self, window=7, shift=3):
        super().__init__()
        self.window, self.shift = window, shift
        self.register_buffer("mask", None)

    def split(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        x = x.view(b, h // self.window, self.window, w // self.window, self.window, c)  # op: x.view
        return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, self.window * self.window, c)  # op: x.permute, x.contiguous, x.view

    def make(self, h: int, w: int):
        regions = torch.zeros(1, h, w, 1)  # op: torch.zeros
        count = 0
        for rows in (slice(0, -self.window), slice(-self.window, None)):
            for columns in (slice(0, -self.shift), slice(-self.shift, None)):
                regions[:, rows, columns, :] = count  # none
                count += 1  # none
        regions = self.split(regions).squeeze(-1)  # op: x.squeeze
        different = regions.unsqueeze(1) - regions.unsqueeze(2)  # op: x.unsqueeze, x.unsqueeze
        return different.masked_fill(different != 0, -100.0).masked_fill(different == 0, 0.0)  # op: x.masked_fill, x.masked_fill

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.size()
        if self.mask is None:  # none
            self.mask = self.make(h, w)  # blocker: buffer changed in forward
        x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))  # op: torch.roll
        return self.split(x)


class Pyramid(nn.Module):
    def __init__(self, widths: List[int]):
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(width, 64, 1) for width in widths])

    def forward(self, features: List[Tensor]) -> List[Tensor]:
        last = self.lateral[-1](features[-1])
        results = [last]
        for index in range(len(features) - 2, -1, -1):  # none
            inner = self.lateral[index](features[index])
            last = inner + F.interpolate(last, size=inner.shape[-2:], mode="nearest")  # op: F.interpolate
            results.insert(0, last)  # none
        results.append(F.max_pool2d(results[-1], 1, 2, 0))  # op: F.max_pool2d
        return results


class Drop(nn.Module):
    def __init__(self, rate: float = 0.1):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if self.rate == 0.0 or not self.training:  # none
            return x
        keep = 1 - self.rate
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        noise = keep + torch.rand(shape, dtype=x.dtype, device=x.device)  # op: torch.rand # blocker: random numbers
        noise.floor_()  # op: x.floor_ # blocker: in-place method
        return x.div(keep) * noise  # op: x.div


class Head(nn.Module):
    """Reads boxes out, and looks at values to do so."""

    def __init__(self, threshold=0.5):
        super().__init__()
        self.threshold = threshold
        self.seen = 0
        self.register_buffer("anchors", torch.zeros(9, 4))

    def forward(self, scores: Tensor, boxes: Tensor, sizes: Optional[List[int]] = None):
        scores = scores.softmax(-1)  # op: x.softmax
        best, labels = scores.max(dim=-1)  # op: x.max
        keep = best > self.threshold
        boxes = boxes[keep]  # blocker: boolean mask as an index
        labels = labels[keep]  # blocker: boolean mask as an index
        if boxes.numel() == 0:  # none
            return boxes, labels
        if keep.sum() > 100:  # op: x.sum # blocker: data-dependent branch
            order = best.argsort(descending=True)  # op: x.argsort
            boxes = boxes[order[:100]]  # none
        rows = torch.nonzero(keep)  # op: torch.nonzero # blocker: nonzero
        which = torch.where(best > 0.9)[0]  # op: torch.where # blocker: where() of one argument
        unit = boxes / boxes.new_tensor([4, 4, 4, 4])  # op: x.new_tensor
        unit[:, 0::2].clamp_(min=0, max=1)  # op: x.clamp_ # blocker: in-place method
        x1, y1, x2, y2 = unit.unbind(-1)  # op: x.unbind
        x1 *= 2  # blocker: -= *= /=
        area = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)  # op: x.clamp, x.clamp
        largest = area.max().item()  # op: x.max # blocker: .item()
        count = int(labels.max()) + 1  # op: x.max # blocker: int() of a tensor
        histogram = torch.bincount(labels, minlength=count)  # op: torch.bincount # blocker: counts by value
        self.seen += 1  # none
        names = np.asarray(sizes or []).tolist()  # none
        return rows, which, largest, histogram, names, unit


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True))

    def forward(self, x):
        if self.training:  # none
            return remember(self.body, x, use_reentrant=False)  # blocker: checkpointing
        x = x.contiguous(memory_format=torch.channels_last)  # op: x.contiguous # blocker: memory_format=
        y = self.body(x)
        return F.dropout2d(y, 0.5) + x.mean()  # op: F.dropout2d, x.mean # blocker: dropout left on
