"""The workload's weights into Keras models whose layers are called by the weights' paths."""

from typing import Any

import keras
import numpy as np
from keras import layers as L

from benchmarks.workloads import Weights
from benchmarks.workloads.arrays import Arrays


def load(model: keras.Model, weights: Weights, path: str = "") -> None:
    """Copy ``weights`` into the layers of ``model``."""
    for name, given in weights.items():
        at = f"{path}.{name}" if path else name
        if name == "attention":
            parts = [given[part][key] for part in ("query", "key", "value", "out") for key in ("kernel", "bias")]
            assign(model.get_layer(at), parts)
        elif isinstance(next(iter(given.values())), dict):
            load(model, given, at)
        else:
            layer = model.get_layer(at)
            assign(layer, converted(layer, given))


def assign(layer: L.Layer, arrays: list[np.ndarray]) -> None:
    """Set what the layer trains, in the order in which it was made; attention keeps its heads apart."""
    for variable, array in zip(layer.trainable_variables, arrays, strict=True):
        variable.assign(array.reshape(variable.shape))


def converted(layer: Any, given: Arrays) -> list[np.ndarray]:
    """The arrays of one layer in Keras' order."""
    if isinstance(layer, L.GRU):  # Keras has the gates as z, r, n, and a second bias in each of them.
        second = np.zeros_like(given["bias"])
        second[-layer.units :] = given["recurrent_bias"]
        bias = np.stack([given["bias"], second])
        return [update_first(array) for array in (given["kernel"], given["recurrent_kernel"], bias)]
    if isinstance(layer, L.Conv2DTranspose):
        return [np.swapaxes(given["kernel"], -2, -1), given["bias"]]
    order = ("scale", "embedding", "kernel", "recurrent_kernel", "bias")
    return [given[key] for key in order if key in given]


def update_first(gates: np.ndarray) -> np.ndarray:
    """The gates r, z, n on the last axis as z, r, n."""
    reset, update, candidate = np.split(gates, 3, -1)
    return np.concatenate([update, reset, candidate], -1)
