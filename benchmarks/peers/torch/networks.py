"""The workloads' networks as PyTorch modules, channels first; children are called as the workload's weights are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.workloads import CNN, GPT, MLP, Autoencoder, Conv3D, Deep, Recurrent, UNet, ViT, WordBag


class Dense(nn.Module):
    """Linear layers with ReLU between them, and what comes after the last."""

    def __init__(self, model: MLP):
        super().__init__()
        self.last = nn.Sigmoid() if isinstance(model, Autoencoder) else nn.Identity()
        self.names = ["dense", *(f"dense_{i}" for i in range(1, len(model.sizes) - 1))]
        for i, name in enumerate(self.names):
            self.add_module(name, nn.Linear(model.sizes[i], model.sizes[i + 1]))

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names[:-1]:
            x = F.relu(getattr(self, name)(x))
        return self.last(getattr(self, self.names[-1])(x))


class SmallCNN(nn.Module):
    """The course's CNN."""

    def __init__(self, model: CNN):
        super().__init__()
        self.conv = nn.Conv2d(1, model.filters, 3)
        self.dense = nn.Linear(((model.side - 2) // 2) ** 2 * model.filters, model.hidden)
        self.dense_1 = nn.Linear(model.hidden, model.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.dense_1(F.relu(self.dense(x.movedim(1, -1).flatten(1))))


class DeepCNN(nn.Module):
    """Convolutions with batch norm."""

    def __init__(self, model: Deep):
        super().__init__()
        self.names = []
        pairs = zip((model.channels, *model.features), model.features, strict=False)
        for i, (pair, stride) in enumerate(zip(pairs, model.strides, strict=True)):
            end = f"_{i}" if i else ""
            self.names.append((f"conv{end}", f"batch_norm{end}", same_ends(model, i)))
            # What SAME pads at stride 2 is one position at the end, which padding=1 is not: see forward.
            self.add_module(f"conv{end}", nn.Conv2d(*pair, 3, stride, padding=1 if stride == 1 else 0, bias=False))
            self.add_module(f"batch_norm{end}", nn.BatchNorm2d(pair[1]))
        self.dense = nn.Linear(model.features[-1], model.classes)

    def forward(self, x: Tensor) -> Tensor:
        for conv, batch_norm, ends in self.names:
            x = F.pad(x, ends) if ends else x
            x = F.relu(getattr(self, batch_norm)(getattr(self, conv)(x)))
        return self.dense(x.mean((2, 3)))


def same_ends(model: Deep, layer: int) -> tuple[int, ...]:
    """What SAME pads in a layer with a stride, left and right of both axes; nothing where ``padding=1`` says it."""
    side = model.side
    for stride in model.strides[:layer]:
        side = -(-side // stride)
    stride = model.strides[layer]
    total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
    return () if stride == 1 else (total // 2, total - total // 2) * 2


class RecurrentNet(nn.Module):
    """Embedding, one recurrent layer, linear from its last output."""

    def __init__(self, model: Recurrent):
        super().__init__()
        self.cell = model.cell
        self.embedding = nn.Embedding(model.vocabulary, model.features)
        form = {"simple_rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[model.cell]
        self.add_module(model.cell, form(model.features, model.hidden, batch_first=True))
        if model.cell != "gru":  # PyTorch adds two biases where one says all: the other one rests at zero.
            getattr(self, model.cell).bias_hh_l0.requires_grad_(False)
        self.dense = nn.Linear(model.hidden, model.classes)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = getattr(self, self.cell)(self.embedding(x))
        return self.dense(outputs[:, -1])


class Attention(nn.Module):
    """Self-attention with one projection to queries, keys and values."""

    def __init__(self, width: int, heads: int, dropout: float, causal: bool):
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        heads = (t.view(batch, time, self.heads, -1).transpose(1, 2) for t in self.qkv(x).split(width, dim=2))
        dropped = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(*heads, dropout_p=dropped, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(batch, time, width))


class Block(nn.Module):
    """A pre-norm Transformer block."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0, causal: bool = False):
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, causal)
        self.mlp = nn.ModuleDict({"up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width)})
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        hidden = F.gelu(self.mlp["up"](self.mlp_norm(x)), approximate="tanh")
        return x + self.dropout(self.mlp["down"](hidden))


class Transformer(nn.Module):
    """What GPT and ViT share: learned positions, blocks, layer norm, linear."""

    def __init__(self, model: GPT | ViT, time: int, outputs: int):
        super().__init__()
        dropout, causal = getattr(model, "dropout", 0.0), isinstance(model, GPT)
        self.learned_positions = nn.Embedding(time, model.width)
        self.dropout = nn.Dropout(dropout)
        self.names = ["transformer_block", *(f"transformer_block_{i}" for i in range(1, model.layers))]
        for name in self.names:
            self.add_module(name, Block(model.width, model.heads, dropout, causal))
        self.layer_norm = nn.LayerNorm(model.width)
        self.dense = nn.Linear(model.width, outputs)

    def blocks(self, x: Tensor) -> Tensor:
        """From embeddings to normed outputs, ``(B, T, width)``."""
        x = self.dropout(x + self.learned_positions.weight)
        for name in self.names:
            x = getattr(self, name)(x)
        return self.layer_norm(x)


class SmallGPT(Transformer):
    """A causal language model."""

    def __init__(self, model: GPT):
        super().__init__(model, model.time, model.vocabulary)
        self.embedding = nn.Embedding(model.vocabulary, model.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.blocks(self.embedding(x)))


class SmallViT(Transformer):
    """An image Transformer."""

    def __init__(self, model: ViT):
        super().__init__(model, (model.side // model.patch) ** 2, model.classes)
        self.conv = nn.Conv2d(model.channels, model.width, model.patch, model.patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.blocks(self.conv(x).flatten(2).transpose(1, 2)).mean(1))


class Level(nn.Module):
    """What one size of image passes in the U-Net."""

    def __init__(self, inputs: int, width: int, below: int | None):
        super().__init__()
        self.down = nn.ModuleDict({"conv": conv(inputs, width), "conv_1": conv(width, width)})
        if below is not None:
            parts = {"conv_transpose": nn.ConvTranspose2d(below, width, 2, 2)}
            self.up = nn.ModuleDict(parts | {"conv": conv(2 * width, width), "conv_1": conv(width, width)})


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution 3×3 SAME."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def twice(parts: Any, x: Tensor) -> Tensor:
    """Two convolutions with ReLU."""
    return F.relu(parts["conv_1"](F.relu(parts["conv"](x))))


class SmallUNet(nn.Module):
    """Down, and up again with skips."""

    def __init__(self, model: UNet):
        super().__init__()
        widths = (model.channels, *model.features)
        self.names = [f"level_{i}" for i in range(len(model.features))]
        for i, name in enumerate(self.names):
            below = widths[i + 2] if i + 2 < len(widths) else None
            self.add_module(name, Level(widths[i], widths[i + 1], below))
        self.head = nn.Conv2d(model.features[0], model.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, name in enumerate(self.names):
            x = twice(getattr(self, name).down, F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for name, skip in zip(self.names[-2::-1], skips[-2::-1], strict=True):
            up = getattr(self, name).up
            x = twice(up, torch.cat([skip, up["conv_transpose"](x)], 1))
        return self.head(x)


class VolumeCNN(nn.Module):
    """Convolutions in three dimensions."""

    def __init__(self, model: Conv3D):
        super().__init__()
        self.names = ["conv", *(f"conv_{i}" for i in range(1, len(model.features)))]
        for name, *pair in zip(self.names, (1, *model.features), model.features, strict=False):
            self.add_module(name, nn.Conv3d(*pair, 3, padding=1))
        left = model.side // 2 ** len(model.features)
        self.dense = nn.Linear(left**3 * model.features[-1], model.classes)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = F.max_pool3d(F.relu(getattr(self, name)(x)), 2)
        return self.dense(x.movedim(1, -1).flatten(1))


class Words(nn.Module):
    """The middle word from its neighbours."""

    def __init__(self, model: WordBag):
        super().__init__()
        self.embedding = nn.EmbeddingBag(model.vocabulary, model.features, mode="mean")
        self.dense = nn.Linear(model.features, model.vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.embedding(x))


MODELS: dict[type, Callable[[Any], nn.Module]] = {
    MLP: Dense,
    Autoencoder: Dense,
    CNN: SmallCNN,
    Deep: DeepCNN,
    Recurrent: RecurrentNet,
    GPT: SmallGPT,
    ViT: SmallViT,
    UNet: SmallUNet,
    Conv3D: VolumeCNN,
    WordBag: Words,
}
