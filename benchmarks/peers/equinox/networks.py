"""The workloads' networks as Equinox modules of one example, channels first.

Each holds its ``layers`` under the names of the workload's weights, and is called with state and key as its guide's
modules with batch norm and dropout are: ``network(x, state, key) -> (y, state)``.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.workloads import CNN, GPT, MLP, Autoencoder, Conv3D, Deep, Recurrent, UNet, ViT, WordBag

Answer = tuple[jax.Array, eqx.nn.State]
Key = jax.Array | None

UNUSED: Any = jax.random.key(0)
"""Layers ask for a key to draw initial weights, which those of the workload then take the place of."""


class Network(eqx.Module):
    """A module with its layers by name."""

    layers: dict[str, Any]


class Dense(Network):
    """Linear layers with ReLU between them, and what comes after the last."""

    last: Callable[[jax.Array], jax.Array]

    def __init__(self, model: MLP):
        names = ["dense", *(f"dense_{i}" for i in range(1, len(model.sizes) - 1))]
        pairs = zip(model.sizes, model.sizes[1:], strict=False)
        self.layers = {name: linear(*pair) for name, pair in zip(names, pairs, strict=True)}
        self.last = jax.nn.sigmoid if isinstance(model, Autoencoder) else eqx.nn.Identity()

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        *layers, final = self.layers.values()
        for layer in layers:
            x = jax.nn.relu(layer(x))
        return self.last(final(x)), state


def linear(inputs: int, outputs: int) -> eqx.nn.Linear:
    """A linear layer with bias."""
    return eqx.nn.Linear(inputs, outputs, key=UNUSED)


class SmallCNN(Network):
    """The course's CNN."""

    def __init__(self, model: CNN):
        flat = ((model.side - 2) // 2) ** 2 * model.filters
        conv = eqx.nn.Conv2d(1, model.filters, 3, key=UNUSED)
        self.layers = {
            "conv": conv,
            "dense": linear(flat, model.hidden),
            "dense_1": linear(model.hidden, model.classes),
        }

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        x = eqx.nn.MaxPool2d(2, 2)(jax.nn.relu(self.layers["conv"](x)))
        x = jax.nn.relu(self.layers["dense"](x.ravel()))
        return self.layers["dense_1"](x), state


class DeepCNN(Network):
    """Convolutions with batch norm."""

    strides: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, model: Deep):
        self.strides, self.layers = model.strides, {}
        inputs = (model.channels, *model.features)
        for i, (*pair, stride) in enumerate(zip(inputs, model.features, model.strides, strict=False)):
            end = f"_{i}" if i else ""
            conv = eqx.nn.Conv2d(*pair, 3, stride, padding="SAME", use_bias=False, key=UNUSED)
            norm = eqx.nn.BatchNorm(pair[1], axis_name="batch", mode="batch", eps=1e-5)
            self.layers |= {f"conv{end}": conv, f"batch_norm{end}": norm}
        self.layers["dense"] = linear(model.features[-1], model.classes)

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        for i in range(len(self.strides)):
            end = f"_{i}" if i else ""
            y, state = self.layers[f"batch_norm{end}"](self.layers[f"conv{end}"](x), state)
            x = jax.nn.relu(y.astype(x.dtype))  # Its statistics are float32.
        return self.layers["dense"](x.mean((1, 2))), state


class SimpleCell(eqx.Module):
    """A step of a simple recurrent network, like the cells that Equinox has."""

    weight_ih: jax.Array
    weight_hh: jax.Array
    bias: jax.Array

    def __init__(self, inputs: int, hidden: int, key: jax.Array):
        self.weight_ih, self.weight_hh = jnp.zeros((hidden, inputs)), jnp.zeros((hidden, hidden))
        self.bias = jnp.zeros(hidden)

    def __call__(self, x: jax.Array, hidden: jax.Array) -> jax.Array:
        return jnp.tanh(self.weight_ih @ x + self.weight_hh @ hidden + self.bias)


class RecurrentNet(Network):
    """Embedding, one recurrent layer, linear from its last output."""

    hidden: int = eqx.field(static=True)
    cell: str = eqx.field(static=True)

    def __init__(self, model: Recurrent):
        self.hidden, self.cell = model.hidden, model.cell
        form = {"simple_rnn": SimpleCell, "lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[model.cell]
        self.layers = {
            "embedding": eqx.nn.Embedding(model.vocabulary, model.features, key=UNUSED),
            model.cell: form(model.features, model.hidden, key=UNUSED),
            "dense": linear(model.hidden, model.classes),
        }

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        x = jax.vmap(self.layers["embedding"])(x)
        cell, zeros = self.layers[self.cell], jnp.zeros(self.hidden, x.dtype)
        start = (zeros, zeros) if self.cell == "lstm" else zeros
        end, _ = jax.lax.scan(lambda carry, x: (cell(x, carry), None), start, x)
        return self.layers["dense"](end[0] if self.cell == "lstm" else end), state


class Block(Network):
    """A pre-norm Transformer block."""

    causal: bool = eqx.field(static=True)
    dropout: eqx.nn.Dropout

    def __init__(self, width: int, heads: int, dropout: float, causal: bool):
        self.causal, self.dropout = causal, eqx.nn.Dropout(dropout)
        biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
        self.layers = {
            "attention_norm": eqx.nn.LayerNorm(width),
            "attention": eqx.nn.MultiheadAttention(heads, width, dropout_p=dropout, key=UNUSED, **biases),
            "mlp_norm": eqx.nn.LayerNorm(width),
            "mlp": {"up": linear(width, 4 * width), "down": linear(4 * width, width)},
        }

    def __call__(self, x: jax.Array, key: Key) -> jax.Array:
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        mask = jnp.tril(jnp.ones((len(x), len(x)), bool)) if self.causal else None
        normed = jax.vmap(self.layers["attention_norm"])(x)
        attended = self.layers["attention"](normed, normed, normed, mask, key=keys[0])
        x = x + self.dropout(attended, key=keys[1])
        hidden = jax.vmap(self.layers["mlp"]["up"])(jax.vmap(self.layers["mlp_norm"])(x))
        branch = jax.vmap(self.layers["mlp"]["down"])(jax.nn.gelu(hidden, approximate=True))
        return x + self.dropout(branch, key=keys[2])


class Transformer(Network):
    """What GPT and ViT share: learned positions, blocks, layer norm."""

    dropout: eqx.nn.Dropout
    names: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, model: GPT | ViT, time: int):
        dropout, causal = getattr(model, "dropout", 0.0), isinstance(model, GPT)
        self.dropout = eqx.nn.Dropout(dropout)
        self.names = ("transformer_block", *(f"transformer_block_{i}" for i in range(1, model.layers)))
        self.layers = {name: Block(model.width, model.heads, dropout, causal) for name in self.names}
        self.layers["learned_positions"] = eqx.nn.Embedding(time, model.width, key=UNUSED)
        self.layers["layer_norm"] = eqx.nn.LayerNorm(model.width)

    def blocks(self, x: jax.Array, key: Key) -> jax.Array:
        """From embeddings to normed outputs, ``(T, width)``."""
        count = 1 + len(self.names)
        first, *keys = [None] * count if key is None else jax.random.split(key, count)
        x = self.dropout(x + self.layers["learned_positions"].weight, key=first)
        for name, each in zip(self.names, keys, strict=True):
            x = self.layers[name](x, each)
        return jax.vmap(self.layers["layer_norm"])(x)


class SmallGPT(Transformer):
    """A causal language model."""

    def __init__(self, model: GPT):
        super().__init__(model, model.time)
        self.layers["embedding"] = eqx.nn.Embedding(model.vocabulary, model.width, key=UNUSED)
        self.layers["dense"] = linear(model.width, model.vocabulary)

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        x = self.blocks(jax.vmap(self.layers["embedding"])(x), key)
        return jax.vmap(self.layers["dense"])(x), state


class SmallViT(Transformer):
    """An image Transformer."""

    def __init__(self, model: ViT):
        super().__init__(model, (model.side // model.patch) ** 2)
        self.layers["conv"] = eqx.nn.Conv2d(model.channels, model.width, model.patch, model.patch, key=UNUSED)
        self.layers["dense"] = linear(model.width, model.classes)

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        x = self.layers["conv"](x)
        return self.layers["dense"](self.blocks(x.reshape(len(x), -1).T, key).mean(0)), state


def conv(inputs: int, outputs: int, size: int = 3) -> eqx.nn.Conv2d:
    """A convolution SAME."""
    return eqx.nn.Conv2d(inputs, outputs, size, padding="SAME", key=UNUSED)


def twice(parts: dict[str, Any], x: jax.Array) -> jax.Array:
    """Two convolutions with ReLU."""
    return jax.nn.relu(parts["conv_1"](jax.nn.relu(parts["conv"](x))))


class SmallUNet(Network):
    """Down, and up again with skips."""

    def __init__(self, model: UNet):
        widths, self.layers = (model.channels, *model.features), {}
        for i, (inputs, width) in enumerate(zip(widths, model.features, strict=False)):
            level: dict[str, Any] = {"down": {"conv": conv(inputs, width), "conv_1": conv(width, width)}}
            if i + 2 < len(widths):
                back = eqx.nn.ConvTranspose2d(widths[i + 2], width, 2, 2, key=UNUSED)
                joined = {"conv": conv(2 * width, width), "conv_1": conv(width, width)}
                level["up"] = {"conv_transpose": back, **joined}
            self.layers[f"level_{i}"] = level
        self.layers["head"] = conv(model.features[0], model.classes, 1)

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        levels = [self.layers[f"level_{i}"] for i in range(len(self.layers) - 1)]
        skips = []
        for i, level in enumerate(levels):
            x = twice(level["down"], eqx.nn.MaxPool2d(2, 2)(x) if i else x)
            skips.append(x)
        for level, skip in zip(levels[-2::-1], skips[-2::-1], strict=True):
            x = twice(level["up"], jnp.concatenate([skip, level["up"]["conv_transpose"](x)]))
        return self.layers["head"](x), state


class VolumeCNN(Network):
    """Convolutions in three dimensions."""

    def __init__(self, model: Conv3D):
        left = model.side // 2 ** len(model.features)
        pairs = zip((1, *model.features), model.features, strict=False)
        convs = [eqx.nn.Conv3d(*pair, 3, padding="SAME", key=UNUSED) for pair in pairs]
        self.layers = {f"conv_{i}" if i else "conv": layer for i, layer in enumerate(convs)}
        self.layers["dense"] = linear(left**3 * model.features[-1], model.classes)

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        *convs, dense = self.layers.values()
        for layer in convs:
            x = eqx.nn.MaxPool3d(2, 2)(jax.nn.relu(layer(x)))
        return dense(x.ravel()), state


class Words(Network):
    """The middle word from its neighbours."""

    def __init__(self, model: WordBag):
        embedding = eqx.nn.Embedding(model.vocabulary, model.features, key=UNUSED)
        self.layers = {"embedding": embedding, "dense": linear(model.features, model.vocabulary)}

    def __call__(self, x: jax.Array, state: eqx.nn.State, key: Key) -> Answer:
        return self.layers["dense"](jax.vmap(self.layers["embedding"])(x).mean(0)), state


MODELS: dict[type, Callable[[Any], Network]] = {
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
