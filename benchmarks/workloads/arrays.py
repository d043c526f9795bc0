"""Initial weights and data, drawn with NumPy."""

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Weights = dict[str, Any]


def glorot_uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """``U(−a, a)``, ``a = √(6 / (fan_in + fan_out))``, for a kernel ``(*window, in, out)``."""
    window = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (window * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def affine(rng: np.random.Generator, *shape: int) -> Arrays:
    """A Glorot uniform kernel and a bias of zeros."""
    return {"kernel": glorot_uniform(rng, *shape), "bias": np.zeros(shape[-1], np.float32)}


def table(rng: np.random.Generator, rows: int, features: int) -> Arrays:
    """An embedding, ``N(0, 0.05²)``."""
    return {"embedding": (0.05 * rng.standard_normal((rows, features))).astype(np.float32)}


def norm(features: int) -> Arrays:
    """A scale of ones and a bias of zeros."""
    return {"scale": np.ones(features, np.float32), "bias": np.zeros(features, np.float32)}


def blocks(rng: np.random.Generator, layers: int, width: int) -> Weights:
    """Pre-norm Transformer blocks, ``transformer_block``, ``transformer_block_1``, …; the MLP is 4 times as wide."""

    def block() -> Weights:
        attention = {name: affine(rng, width, width) for name in ("query", "key", "value", "out")}
        mlp = {"up": affine(rng, width, 4 * width), "down": affine(rng, 4 * width, width)}
        return {"attention_norm": norm(width), "attention": attention, "mlp_norm": norm(width), "mlp": mlp}

    return {f"transformer_block_{i}" if i else "transformer_block": block() for i in range(layers)}


def labelled(rng: np.random.Generator, classes: int, examples: int, *shape: int) -> Arrays:
    """``x: (examples, *shape)`` in shades, ``y: (examples,)`` int32."""
    return {"x": shades(rng, examples, *shape), "y": rng.integers(0, classes, examples, np.int32)}


def shades(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Pixels in 256 shades from 0 to 1, float32."""
    return rng.integers(0, 256, shape, np.uint8).astype(np.float32) / 255
