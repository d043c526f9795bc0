"""The workload's weights into Flax NNX modules that call their children as the weights are called."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.workloads import Weights
from benchmarks.workloads.arrays import Arrays


def load(module: nnx.Module, weights: Weights) -> None:
    """Copy ``weights`` into the parameters of ``module``."""
    for name, given in weights.items():
        child: Any = getattr(module, name)
        if isinstance(child, nnx.RNN):
            load(child.cell, by_input_and_state(given))
        elif isinstance(next(iter(given.values())), dict):
            load(child, given)
        else:
            for key, values in given.items():
                parameter = getattr(child, key)
                if isinstance(child, nnx.ConvTranspose) and key == "kernel":
                    values = np.flip(values, (0, 1))
                parameter[...] = jnp.array(values.reshape(parameter.shape))  # Attention's hold the heads apart.


def by_input_and_state(given: Arrays) -> Weights:
    """A cell's kernels as Flax keeps them: one linear layer of the input, one of the state."""
    inputs, states = {"kernel": given["kernel"]}, {"kernel": given["recurrent_kernel"]}
    gates = given["bias"].size // given["recurrent_kernel"].shape[0]
    if gates == 4:  # An LSTM has its bias in the layer of the state.
        return {"dense_i": inputs, "dense_h": {**states, "bias": given["bias"]}}
    if "recurrent_bias" in given:
        zeros = np.zeros_like(given["bias"][: -given["recurrent_bias"].size])
        states["bias"] = np.concatenate([zeros, given["recurrent_bias"]])
    return {"dense_i": {**inputs, "bias": given["bias"]}, "dense_h": states}
