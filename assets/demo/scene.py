"""A small model that reads a picture, a sound and a caption: the demo of t2m-tui.

Nobody trained it. It is here to hold every layer that the registry's seed lists, in configurations that people meet, and
each of the constructs in `forward` that stop or change a conversion.
"""

import torch
from torch import nn


class Residual(nn.Module):
    """Two convolutions around a skip connection, with the group norm that MLX groups differently by default."""

    def __init__(self, channels, groups):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False)
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, (3, 5), padding=(1, 2), groups=channels)
        self.norm2 = nn.InstanceNorm2d(channels, affine=True)
        self.act = nn.ReLU()

    def forward(self, x):
        identity = x
        x = self.act(self.norm1(self.conv1(x)))
        x = self.norm2(self.conv2(x))
        x += identity
        return self.act(x)


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.SiLU(),
        )
        self.pool = nn.FractionalMaxPool2d(2, output_ratio=0.5)
        self.blocks = nn.ModuleList([Residual(24, 4), Residual(24, 6)])
        self.styled = nn.InstanceNorm2d(24, affine=True, track_running_stats=True)
        self.expand = nn.Conv2d(24, 32, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.up = nn.ConvTranspose2d(8, 6, (3, 4), stride=2, padding=1, output_padding=1)
        self.mix = nn.ConvTranspose2d(6, 8, 4, stride=2, padding=1, groups=2)

    def forward(self, image):
        x = self.pool(self.stem(image))
        for block in self.blocks:
            x = block(x)
        x = self.shuffle(self.expand(self.styled(x)))
        # A comment about .item() is not a call of it, and neither is the string below.
        brightness = x.abs().mean().item()
        label = "scaled by .item() and += nothing"
        return self.mix(torch.tanh(self.up(x))) / max(brightness, 1e-3), label


class Clip(torch.autograd.Function):
    """Clamps forward, passes the gradient through."""

    @staticmethod
    def forward(ctx, x, limit):
        return x.clamp(-limit, limit)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class Sound(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 12, 5, stride=2, padding=4, dilation=2)
        self.norm = nn.BatchNorm1d(12)
        self.act = nn.LeakyReLU(0.2)
        self.same = nn.Conv1d(12, 12, 4, padding="same", groups=3)
        self.level = nn.InstanceNorm1d(12)
        self.up = nn.ConvTranspose1d(12, 10, 5, stride=3, padding=1, output_padding=2)
        self.memory = nn.LSTM(10, 12, batch_first=True)
        self.register_buffer("loudest", torch.zeros(10))

    def forward(self, wave):
        x = self.level(self.same(self.act(self.norm(self.conv(wave)))))
        x = Clip.apply(self.up(x), 3.0)
        self.loudest.copy_(x.amax(dim=(0, 2)))
        x, _ = self.memory(x.transpose(1, 2))
        return x


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width, heads, approximate):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.RMSNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(approximate=approximate), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Caption(nn.Module):
    def __init__(self, words, width):
        super().__init__()
        self.embed = nn.Embedding(words, width, padding_idx=0)
        self.blocks = nn.Sequential(Block(width, 4, "tanh"), Block(width, 2, "none"))
        self.cross = nn.MultiheadAttention(width, 4, kdim=12, vdim=12)
        self.act = nn.GELU()
        self.gate = nn.Sigmoid()
        self.watched = None

    def watch(self):
        """Keep what the blocks see and what flows back."""
        self.blocks.register_forward_hook(lambda module, inputs, output: setattr(self, "watched", output))
        self.blocks.register_backward_hook(lambda module, gradient, output: None)

    def forward(self, words, sound):
        count = 0
        x = self.embed(words)
        for block in self.blocks:
            x = block(x)
            count += 1
        first = x[:, 0]
        first += 0.5
        seen, _ = self.cross(x.transpose(0, 1), sound.transpose(0, 1), sound.transpose(0, 1))
        return self.act(x) * self.gate(seen.transpose(0, 1)) / count


class Scene(nn.Module):
    def __init__(self, words=40, width=32, labels=7):
        super().__init__()
        self.picture = Picture()
        self.sound = Sound()
        self.caption = Caption(words, width)
        self.join = nn.Sequential(nn.Linear(width + 8 + 12, 48), nn.Tanh(), nn.LayerNorm(48, eps=1e-6))
        self.head = nn.Linear(48, labels, bias=False)
        self.choose = nn.Softmax(dim=1)
        self.observe = torch.ao.quantization.QuantStub()

    def forward(self, image, wave, words):
        picture, _ = self.picture(self.observe(image))
        sound = self.sound(wave)
        caption = self.caption(words, sound)
        joined = torch.cat([picture.mean((2, 3)), sound.mean(1), caption.mean(1)], dim=1)
        return self.choose(self.head(self.join(joined)))
