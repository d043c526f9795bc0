"""How Keras lays out the weights of each kind of layer, and in which order."""

from typing import Any

import numpy as np

from jaxdl.interop.converters import SIDES, Arrays, Converter, Entry, Leaf, entries, merge_heads, split_heads

PRODUCT = entries(kernel="kernel", bias="bias")
NORM = entries(scale="gamma", bias="beta")
RECURRENT = entries(kernel="kernel", recurrent_kernel="recurrent_kernel", bias="bias")


def _read_depthwise(leaf: Leaf, arrays: Arrays) -> Arrays:
    """Of a kernel ``(*window, in, multiplier)`` ours in a row: ``(*window, 1, in · multiplier)``."""
    return {**arrays, "kernel": arrays["kernel"].reshape(leaf.params["kernel"].shape)}


def _write_depthwise(leaf: Leaf, arrays: Arrays) -> Arrays:
    kernel, channels = arrays["kernel"], leaf.input.shape[-1]
    shape = (*kernel.shape[:-2], channels, kernel.shape[-1] // channels)
    return PRODUCT.write(leaf, {**arrays, "kernel": kernel.reshape(shape)})


def _swapped(kernel: Any) -> Any:
    """``(*window, in, out) -> (*window, out, in)``, and back."""
    return np.swapaxes(kernel, -1, -2)


def _swap_gates(array: Any) -> Any:
    """The gates r, z, n in the order z, r, n, and back."""
    first, second, third = np.split(array, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)


def _read_gru(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {name: _swap_gates(array) for name, array in arrays.items()}
    if "recurrent_bias" in leaf.params:
        outer, inner = found["bias"]
        size = leaf.params["recurrent_bias"].shape[0]
        found["bias"] = np.concatenate([(outer + inner)[:-size], outer[-size:]])
        found["recurrent_bias"] = inner[-size:]  # stands inside of the reset gate's product: no part of the sum
    return found


def _write_gru(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {name: _swap_gates(array) for name, array in RECURRENT.write(leaf, arrays).items()}
    if "recurrent_bias" in arrays:
        inner = np.zeros_like(found["bias"])
        inner[-len(arrays["recurrent_bias"]) :] = arrays["recurrent_bias"]
        found["bias"] = np.stack([found["bias"], inner])
    return found


def _read_prelu(leaf: Leaf, arrays: Arrays) -> Arrays:
    return {"slope": arrays["alpha"].reshape(leaf.params["slope"].shape)}


def _write_prelu(leaf: Leaf, arrays: Arrays) -> Arrays:
    slope = arrays["slope"]
    return {"alpha": slope.reshape((1,) * (len(leaf.input.shape) - 2) + slope.shape)}


def _write_attention(leaf: Leaf, arrays: Arrays) -> Arrays:
    named = split_heads(leaf, arrays)
    order = [f"{side}/{name}" for side in (*SIDES, "out") for name in ("kernel", "bias")]
    return {name: named[name] for name in order if name in named}


TABLE = {
    "dense": PRODUCT,
    "glu": PRODUCT,
    "maxout": PRODUCT,
    "conv": PRODUCT,
    "depthwise_conv": Converter(_read_depthwise, _write_depthwise),
    "conv_transpose": entries(kernel=Entry("kernel", _swapped, _swapped), bias="bias"),
    "embedding": entries(embedding="embeddings"),
    "attend": entries(embedding=Entry("kernel", np.transpose, np.transpose)),
    "learned_positions": entries(embedding="embeddings"),
    "batch_norm": entries(scale="gamma", bias="beta", mean="moving_mean", var="moving_variance"),
    "layer_norm": NORM,
    "group_norm": NORM,
    "instance_norm": NORM,
    "rms_norm": entries(scale="scale"),
    "prelu": Converter(_read_prelu, _write_prelu),
    "simple_rnn": RECURRENT,
    "lstm": RECURRENT,
    "gru": Converter(_read_gru, _write_gru),
    "conv_lstm": RECURRENT,
    "multi_head_attention": Converter(merge_heads, _write_attention),
}
"""The converter of each kind of layer that Keras has; what ``write`` gives stands in the order of ``get_weights()``."""
