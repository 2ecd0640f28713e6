"""A small vision network with a bit of everything."""

import torch
from torch import nn
from torchvision.ops import RoIAlign

from vision.attention import EncoderLayer


class Block(nn.Module):
    """Two convolutions around a short cut, gated by the mean of the features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.gn = nn.GroupNorm(4, width)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.act(self.bn1(self.conv1(x)))
        out = self.gn(self.conv2(out))
        scale = out.mean().item()
        if scale > 0.5:
            out = out * scale
        out[:, 0].add_(1.0)
        return self.act(out + identity)


class VisionNet(nn.Module):
    def __init__(self, classes: int = 100) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        self.layer1 = nn.Sequential(Block(64), Block(64))
        self.layer2 = nn.Sequential(Block(64), Block(64))
        self.roi = RoIAlign((7, 7), spatial_scale=0.25, sampling_ratio=2)
        self.encoder = EncoderLayer(64, heads=8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, classes)

    def forward(self, images: torch.Tensor, boxes: list[torch.Tensor]) -> torch.Tensor:
        x = self.stem(images)
        x = self.layer2(self.layer1(x))
        x = self.roi(x, boxes)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.encoder(tokens)
        x = self.pool(x).flatten(1)
        with torch.autocast("cuda"):
            return self.head(x + tokens.mean(1))
