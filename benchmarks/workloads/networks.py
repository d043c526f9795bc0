"""Networks by their sizes, with data and initial weights in NumPy: each peer builds them from here in its own way.

Weights are named by path and shaped as everyone with channels last has them: kernels ``(*window, in, out)`` and
``(in, out)``. All of them: float32 in, mean loss out, Adam.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.workloads.arrays import Arrays, Weights, affine, blocks, glorot_uniform, labelled, norm, shades, table


@dataclass(frozen=True)
class MLP:
    """Dense layers with ReLU between them; cross entropy from integer labels."""

    sizes: tuple[int, ...] = (784, 256, 128, 10)
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, in)``, ``y: (examples,)`` int32."""
        return labelled(rng, self.sizes[-1], examples, self.sizes[0])

    def weights(self, rng: np.random.Generator) -> Weights:
        """``dense``, ``dense_1``, …"""
        pairs = zip(self.sizes, self.sizes[1:], strict=False)
        return {f"dense_{i}" if i else "dense": affine(rng, *pair) for i, pair in enumerate(pairs)}


@dataclass(frozen=True)
class Autoencoder(MLP):
    """Dense layers with ReLU between them, a sigmoid at the end; mean squared error to the input, over all pixels."""

    sizes: tuple[int, ...] = (784, 128, 32, 128, 784)

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x = y: (examples, in)``."""
        x = shades(rng, examples, self.sizes[0])
        return {"x": x, "y": x}


@dataclass(frozen=True)
class CNN:
    """Convolution 3×3 + ReLU, max pool 2, dense + ReLU, dense; cross entropy from integer labels."""

    side: int = 28
    filters: int = 32
    hidden: int = 128
    classes: int = 10
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, side, side, 1)``, ``y: (examples,)`` int32."""
        return labelled(rng, self.classes, examples, self.side, self.side, 1)

    def weights(self, rng: np.random.Generator) -> Weights:
        """``conv``, ``dense``, ``dense_1``."""
        flat = ((self.side - 2) // 2) ** 2 * self.filters
        return {
            "conv": affine(rng, 3, 3, 1, self.filters),
            "dense": affine(rng, flat, self.hidden),
            "dense_1": affine(rng, self.hidden, self.classes),
        }


@dataclass(frozen=True)
class Deep:
    """Convolutions 3×3 SAME without bias, each with batch norm (ε 1e-5) and ReLU; mean over positions, dense."""

    side: int = 32
    channels: int = 3
    features: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 512, 512)
    strides: tuple[int, ...] = (1, 1, 2, 1, 2, 1, 2, 1)
    classes: int = 10
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, side, side, channels)``, ``y: (examples,)`` int32."""
        return labelled(rng, self.classes, examples, self.side, self.side, self.channels)

    def weights(self, rng: np.random.Generator) -> Weights:
        """``conv``, ``batch_norm``, ``conv_1``, ``batch_norm_1``, …, ``dense``."""
        weights: Weights = {}
        pairs = zip((self.channels, *self.features), self.features, strict=False)
        for i, (inputs, outputs) in enumerate(pairs):
            end = f"_{i}" if i else ""
            weights[f"conv{end}"] = {"kernel": glorot_uniform(rng, 3, 3, inputs, outputs)}
            weights[f"batch_norm{end}"] = norm(outputs)
        return weights | {"dense": affine(rng, self.features[-1], self.classes)}


@dataclass(frozen=True)
class Recurrent:
    """Embedding, one recurrent layer, dense from its last output; cross entropy from integer labels.

    ``cell`` is ``"simple_rnn"`` (tanh), ``"lstm"`` (gates in the order i, f, g, o) or ``"gru"`` (r, z, n; the reset
    gate after the product, ``n = tanh(W x + b + r ⊙ (U h + recurrent_bias))``, as in PyTorch, Keras, Flax and Equinox).
    """

    GATES: ClassVar[dict[str, int]] = {"simple_rnn": 1, "lstm": 4, "gru": 3}

    cell: str
    hidden: int
    vocabulary: int = 1000
    features: int = 32
    time: int = 100
    classes: int = 2
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, time)`` int32, ``y: (examples,)`` int32."""
        x = rng.integers(0, self.vocabulary, (examples, self.time), np.int32)
        return {"x": x, "y": rng.integers(0, self.classes, examples, np.int32)}

    def weights(self, rng: np.random.Generator) -> Weights:
        """``embedding``, the cell with ``kernel``, ``recurrent_kernel``, ``bias`` (``recurrent_bias``), ``dense``."""
        width = self.GATES[self.cell] * self.hidden
        cell = affine(rng, self.features, width)
        cell["recurrent_kernel"] = glorot_uniform(rng, self.hidden, width)
        if self.cell == "gru":
            cell["recurrent_bias"] = np.zeros(self.hidden, np.float32)
        return {
            "embedding": table(rng, self.vocabulary, self.features),
            self.cell: cell,
            "dense": affine(rng, self.hidden, self.classes),
        }


@dataclass(frozen=True)
class GPT:
    """Embedding + learned positions, dropout, causal pre-norm blocks (tanh-GELU), layer norm, dense.

    Next-token cross entropy, the mean over all positions. Dropout, where there is any: after the positions, of the
    attention's weights, and of each branch's output, as in GPT-2.
    """

    layers: int = 4
    heads: int = 4
    width: int = 128
    time: int = 64
    vocabulary: int = 65
    dropout: float = 0.0
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x, y: (examples, time)`` int32."""
        text = rng.integers(0, self.vocabulary, (examples, self.time + 1), np.int32)
        return {"x": text[:, :-1].copy(), "y": text[:, 1:].copy()}

    def weights(self, rng: np.random.Generator) -> Weights:
        """``embedding``, ``learned_positions``, ``transformer_block``, …, ``layer_norm``, ``dense``."""
        return {
            "embedding": table(rng, self.vocabulary, self.width),
            "learned_positions": table(rng, self.time, self.width),
            **blocks(rng, self.layers, self.width),
            "layer_norm": norm(self.width),
            "dense": affine(rng, self.width, self.vocabulary),
        }


@dataclass(frozen=True)
class ViT:
    """Patches by a convolution, learned positions, pre-norm blocks (tanh-GELU), layer norm, mean over them, dense."""

    side: int = 32
    channels: int = 3
    patch: int = 4
    layers: int = 4
    heads: int = 4
    width: int = 128
    classes: int = 10
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, side, side, channels)``, ``y: (examples,)`` int32."""
        return labelled(rng, self.classes, examples, self.side, self.side, self.channels)

    def weights(self, rng: np.random.Generator) -> Weights:
        """``conv``, ``learned_positions``, ``transformer_block``, …, ``layer_norm``, ``dense``."""
        return {
            "conv": affine(rng, self.patch, self.patch, self.channels, self.width),
            "learned_positions": table(rng, (self.side // self.patch) ** 2, self.width),
            **blocks(rng, self.layers, self.width),
            "layer_norm": norm(self.width),
            "dense": affine(rng, self.width, self.classes),
        }


@dataclass(frozen=True)
class UNet:
    """Two convolutions 3×3 SAME + ReLU a level, max pool 2 down, transposed convolution 2×2 stride 2 up, skips joined.

    The upsampled channels come after the skipped ones. A convolution 1×1 gives the classes of each pixel; cross
    entropy, the mean over pixels.
    """

    side: int = 64
    channels: int = 1
    features: tuple[int, ...] = (16, 32, 64)
    classes: int = 2
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, side, side, channels)``, ``y: (examples, side, side)`` int32."""
        x = shades(rng, examples, self.side, self.side, self.channels)
        return {"x": x, "y": rng.integers(0, self.classes, (examples, self.side, self.side), np.int32)}

    def weights(self, rng: np.random.Generator) -> Weights:
        """Levels ``level_0``, the widest image, and on; then ``head``.

        A level has ``down/conv``, ``down/conv_1``; all but the last ``up/conv_transpose``, ``up/conv``, ``up/conv_1``.
        """
        weights: Weights = {}
        inputs = self.channels
        for level, width in enumerate(self.features):
            parts: Weights = {
                "down": {"conv": affine(rng, 3, 3, inputs, width), "conv_1": affine(rng, 3, 3, width, width)}
            }
            if level + 1 < len(self.features):
                parts["up"] = {
                    "conv_transpose": affine(rng, 2, 2, self.features[level + 1], width),
                    "conv": affine(rng, 3, 3, 2 * width, width),
                    "conv_1": affine(rng, 3, 3, width, width),
                }
            weights[f"level_{level}"] = parts
            inputs = width
        return weights | {"head": affine(rng, 1, 1, self.features[0], self.classes)}


@dataclass(frozen=True)
class Conv3D:
    """Convolutions 3×3×3 SAME + ReLU, each with max pool 2; dense; cross entropy from integer labels."""

    side: int = 16
    features: tuple[int, ...] = (16, 32)
    classes: int = 10
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, side, side, side, 1)``, ``y: (examples,)`` int32."""
        return labelled(rng, self.classes, examples, self.side, self.side, self.side, 1)

    def weights(self, rng: np.random.Generator) -> Weights:
        """``conv``, ``conv_1``, ``dense``."""
        pairs = zip((1, *self.features), self.features, strict=False)
        convs = {f"conv_{i}" if i else "conv": affine(rng, 3, 3, 3, *pair) for i, pair in enumerate(pairs)}
        left = self.side // 2 ** len(self.features)
        return convs | {"dense": affine(rng, left**3 * self.features[-1], self.classes)}


@dataclass(frozen=True)
class WordBag:
    """The middle word from its neighbours (CBOW): embedding, mean over the words, dense to the whole vocabulary."""

    vocabulary: int = 50_000
    features: int = 64
    words: int = 8
    learning_rate: float = 1e-3

    def data(self, rng: np.random.Generator, examples: int) -> Arrays:
        """``x: (examples, words)`` int32, ``y: (examples,)`` int32."""
        x = rng.integers(0, self.vocabulary, (examples, self.words), np.int32)
        return {"x": x, "y": rng.integers(0, self.vocabulary, examples, np.int32)}

    def weights(self, rng: np.random.Generator) -> Weights:
        """``embedding``, ``dense``."""
        return {
            "embedding": table(rng, self.vocabulary, self.features),
            "dense": affine(rng, self.features, self.vocabulary),
        }


Network = MLP | CNN | Deep | Recurrent | GPT | ViT | UNet | Conv3D | WordBag
