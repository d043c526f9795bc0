"""The workloads' networks as Flax NNX modules; children are called as the workload's weights are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.workloads import CNN, GPT, MLP, Autoencoder, Conv3D, Deep, Recurrent, UNet, ViT, WordBag

Options = dict[str, Any]
"""What all layers are made with: ``dtype`` and ``rngs``."""


class Dense(nnx.Module):
    """Linear layers with ReLU between them, and what comes after the last."""

    def __init__(self, model: MLP, options: Options):
        self.sigmoid = isinstance(model, Autoencoder)
        self.names = ("dense", *(f"dense_{i}" for i in range(1, len(model.sizes) - 1)))
        for i, name in enumerate(self.names):
            setattr(self, name, nnx.Linear(model.sizes[i], model.sizes[i + 1], **options))

    def __call__(self, x: jax.Array) -> jax.Array:
        for name in self.names[:-1]:
            x = nnx.relu(getattr(self, name)(x))
        x = getattr(self, self.names[-1])(x)
        return nnx.sigmoid(x) if self.sigmoid else x


class SmallCNN(nnx.Module):
    """The course's CNN."""

    def __init__(self, model: CNN, options: Options):
        self.conv = nnx.Conv(1, model.filters, (3, 3), padding="VALID", **options)
        self.dense = nnx.Linear(((model.side - 2) // 2) ** 2 * model.filters, model.hidden, **options)
        self.dense_1 = nnx.Linear(model.hidden, model.classes, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.conv(x)), (2, 2), (2, 2))
        return self.dense_1(nnx.relu(self.dense(x.reshape(len(x), -1))))


class DeepCNN(nnx.Module):
    """Convolutions with batch norm."""

    def __init__(self, model: Deep, options: Options):
        self.ends = ("", *(f"_{i}" for i in range(1, len(model.features))))
        inputs = (model.channels, *model.features)
        for end, *pair, stride in zip(self.ends, inputs, model.features, model.strides, strict=False):
            setattr(self, f"conv{end}", nnx.Conv(*pair, (3, 3), stride, use_bias=False, **options))
            setattr(self, f"batch_norm{end}", nnx.BatchNorm(pair[1], epsilon=1e-5, **options))
        self.dense = nnx.Linear(model.features[-1], model.classes, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        for end in self.ends:
            x = nnx.relu(getattr(self, f"batch_norm{end}")(getattr(self, f"conv{end}")(x)))
        return self.dense(x.mean((1, 2)))


class RecurrentNet(nnx.Module):
    """Embedding, one recurrent layer, linear from its last output."""

    def __init__(self, model: Recurrent, options: Options):
        self.cell, self.hidden = model.cell, model.hidden
        self.embedding = nnx.Embed(model.vocabulary, model.features, **options)
        form = {"simple_rnn": nnx.SimpleCell, "lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[model.cell]
        cell = form(model.features, model.hidden, **options)
        if model.cell == "gru":  # Flax leaves out the bias of the reset gate's product.
            cell.dense_h = nnx.Linear(model.hidden, 3 * model.hidden, **options)
        setattr(self, model.cell, nnx.RNN(cell, rngs=options["rngs"]))
        self.dense = nnx.Linear(model.hidden, model.classes, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embedding(x)
        zeros = jnp.zeros((len(x), self.hidden), x.dtype)
        start = (zeros, zeros) if self.cell == "lstm" else zeros
        return self.dense(getattr(self, self.cell)(x, initial_carry=start)[:, -1])


class MLPBranch(nnx.Module):
    """The position-wise half of a block."""

    def __init__(self, width: int, options: Options):
        self.up, self.down = nnx.Linear(width, 4 * width, **options), nnx.Linear(4 * width, width, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(nnx.gelu(self.up(x), approximate=True))


class Block(nnx.Module):
    """A pre-norm Transformer block."""

    def __init__(self, width: int, heads: int, dropout: float, causal: bool, options: Options):
        self.causal = causal
        self.attention_norm = nnx.LayerNorm(width, epsilon=1e-5, **options)
        self.mlp_norm = nnx.LayerNorm(width, epsilon=1e-5, **options)
        self.attention = nnx.MultiHeadAttention(
            heads, width, dropout_rate=dropout, broadcast_dropout=False, decode=False, **options
        )
        self.mlp = MLPBranch(width, options)
        self.dropout = nnx.Dropout(dropout, rngs=options["rngs"])

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x + self.dropout(self.attention(self.attention_norm(x), is_causal=self.causal))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Transformer(nnx.Module):
    """What GPT and ViT share: learned positions, blocks, layer norm, linear."""

    def __init__(self, model: GPT | ViT, time: int, outputs: int, options: Options):
        dropout, causal = getattr(model, "dropout", 0.0), isinstance(model, GPT)
        self.learned_positions = nnx.Embed(time, model.width, **options)
        self.dropout = nnx.Dropout(dropout, rngs=options["rngs"])
        self.names = ("transformer_block", *(f"transformer_block_{i}" for i in range(1, model.layers)))
        for name in self.names:
            setattr(self, name, Block(model.width, model.heads, dropout, causal, options))
        self.layer_norm = nnx.LayerNorm(model.width, epsilon=1e-5, **options)
        self.dense = nnx.Linear(model.width, outputs, **options)

    def blocks(self, x: jax.Array) -> jax.Array:
        """From embeddings to normed outputs, ``(B, T, width)``."""
        x = self.dropout(x + self.learned_positions(jnp.arange(x.shape[1])))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.layer_norm(x)


class SmallGPT(Transformer):
    """A causal language model."""

    def __init__(self, model: GPT, options: Options):
        super().__init__(model, model.time, model.vocabulary, options)
        self.embedding = nnx.Embed(model.vocabulary, model.width, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(self.blocks(self.embedding(x)))


class SmallViT(Transformer):
    """An image Transformer."""

    def __init__(self, model: ViT, options: Options):
        super().__init__(model, (model.side // model.patch) ** 2, model.classes, options)
        patch = (model.patch, model.patch)
        self.conv = nnx.Conv(model.channels, model.width, patch, patch, padding="VALID", **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(x)
        return self.dense(self.blocks(x.reshape(len(x), -1, x.shape[-1])).mean(1))


class Twice(nnx.Module):
    """Two convolutions 3×3 SAME with ReLU."""

    def __init__(self, inputs: int, width: int, options: Options):
        self.conv, self.conv_1 = nnx.Conv(inputs, width, (3, 3), **options), nnx.Conv(width, width, (3, 3), **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.conv_1(nnx.relu(self.conv(x))))


class Up(Twice):
    """From the smaller image below and the skipped one."""

    def __init__(self, below: int, width: int, options: Options):
        super().__init__(2 * width, width, options)
        self.conv_transpose = nnx.ConvTranspose(below, width, (2, 2), (2, 2), padding="VALID", **options)

    def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
        return super().__call__(jnp.concatenate([skip, self.conv_transpose(x)], -1))


class Level(nnx.Module):
    """What one size of image passes in the U-Net."""

    def __init__(self, inputs: int, width: int, below: int | None, options: Options):
        self.down = Twice(inputs, width, options)
        if below is not None:
            self.up = Up(below, width, options)


class SmallUNet(nnx.Module):
    """Down, and up again with skips."""

    def __init__(self, model: UNet, options: Options):
        widths = (model.channels, *model.features)
        self.names = tuple(f"level_{i}" for i in range(len(model.features)))
        for i, name in enumerate(self.names):
            below = widths[i + 2] if i + 2 < len(widths) else None
            setattr(self, name, Level(widths[i], widths[i + 1], below, options))
        self.head = nnx.Conv(model.features[0], model.classes, (1, 1), **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        skips = []
        for i, name in enumerate(self.names):
            x = getattr(self, name).down(nnx.max_pool(x, (2, 2), (2, 2)) if i else x)
            skips.append(x)
        for name, skip in zip(self.names[-2::-1], skips[-2::-1], strict=True):
            x = getattr(self, name).up(x, skip)
        return self.head(x)


class VolumeCNN(nnx.Module):
    """Convolutions in three dimensions."""

    def __init__(self, model: Conv3D, options: Options):
        self.names = ("conv", *(f"conv_{i}" for i in range(1, len(model.features))))
        for name, *pair in zip(self.names, (1, *model.features), model.features, strict=False):
            setattr(self, name, nnx.Conv(*pair, (3, 3, 3), **options))
        left = model.side // 2 ** len(model.features)
        self.dense = nnx.Linear(left**3 * model.features[-1], model.classes, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        for name in self.names:
            x = nnx.max_pool(nnx.relu(getattr(self, name)(x)), (2, 2, 2), (2, 2, 2))
        return self.dense(x.reshape(len(x), -1))


class Words(nnx.Module):
    """The middle word from its neighbours."""

    def __init__(self, model: WordBag, options: Options):
        self.embedding = nnx.Embed(model.vocabulary, model.features, **options)
        self.dense = nnx.Linear(model.features, model.vocabulary, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(self.embedding(x).mean(1))


MODELS: dict[type, Callable[[Any, Options], nnx.Module]] = {
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
