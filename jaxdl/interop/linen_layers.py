"""How Flax (linen) lays out the parameters of each kind of layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl.core import bad_value
from jaxdl.interop.converters import Arrays, Converter, Entry, Leaf, entries, merge_heads, split_heads

PRODUCT = entries(kernel="kernel", bias="bias")
NORM = entries(scale="scale", bias="bias")


def turned(kernel: Any) -> Any:
    """The kernel mirrored along each axis of its window: Flax's ``ConvTranspose`` reads it from the far end."""
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


# Recurrent cells: one small product for each gate and side.


def _gates(names: Sequence[str], with_bias: str) -> Converter:
    """The cell whose gates have these ``names``, in our order; ``with_bias`` is the side that has the gates' bias."""

    def read(leaf: Leaf, arrays: Arrays) -> Arrays:
        def joined(side: str, name: str) -> Any:
            return np.concatenate([arrays[f"{side}{gate}/{name}"] for gate in names], axis=-1)

        bias = {"bias": joined(with_bias, "bias")} if f"{with_bias}{names[0]}/bias" in arrays else {}
        inner = {"recurrent_bias": arrays["hn/bias"]} if "hn/bias" in arrays else {}
        return {"kernel": joined("i", "kernel"), "recurrent_kernel": joined("h", "kernel"), **bias, **inner}

    def write(leaf: Leaf, arrays: Arrays) -> Arrays:
        found: Arrays = {}
        columns = [("i", "kernel", "kernel"), ("h", "kernel", "recurrent_kernel"), (with_bias, "bias", "bias")]
        for side, name, ours in columns:
            parts = np.split(arrays[ours], len(names), axis=-1) if ours in arrays else []
            found |= {f"{side}{gate}/{name}": part for gate, part in zip(names, parts, strict=bool(parts))}
        if leaf.option("reset", "after") != "after":
            raise bad_value("gru", "Flax applies the reset gate after the product", repr(leaf.layer))
        if "recurrent_bias" in arrays:
            found["hn/bias"] = arrays["recurrent_bias"]
        return found

    return Converter(read, write)


# A convolutional LSTM: the gates in the order i, g, f, o, a bias on either side, and 1 added to the forget gate's.


def _swap_gates(array: Any) -> Any:
    """The gates i, f, g, o in the order i, g, f, o, and back."""
    first, second, third, last = np.split(array, 4, axis=-1)
    return np.concatenate([first, third, second, last], axis=-1)


def _forget_one(bias: Any) -> Any:
    return np.repeat(np.array([0, 1, 0, 0], bias.dtype), bias.shape[0] // 4)


def _read_conv_lstm(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {"kernel": _swap_gates(arrays["ih/kernel"]), "recurrent_kernel": _swap_gates(arrays["hh/kernel"])}
    if "ih/bias" in arrays:
        bias = _swap_gates(arrays["ih/bias"] + arrays["hh/bias"])
        found["bias"] = bias + _forget_one(bias)
    return found


def _write_conv_lstm(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {"ih/kernel": _swap_gates(arrays["kernel"]), "hh/kernel": _swap_gates(arrays["recurrent_kernel"])}
    if "bias" in arrays:
        found["ih/bias"] = _swap_gates(arrays["bias"] - _forget_one(arrays["bias"]))
        found["hh/bias"] = np.zeros_like(found["ih/bias"])
    return found


TABLE = {
    "dense": PRODUCT,
    "glu": PRODUCT,
    "maxout": PRODUCT,
    "conv": PRODUCT,
    "depthwise_conv": PRODUCT,
    "conv_transpose": entries(kernel=Entry("kernel", turned, turned), bias="bias"),
    "embedding": entries(embedding="embedding"),
    "attend": entries(embedding="embedding"),
    "learned_positions": entries(embedding="embedding"),
    "batch_norm": entries(scale="scale", bias="bias", mean="mean", var="var"),
    "layer_norm": NORM,
    "group_norm": NORM,
    "instance_norm": NORM,
    "rms_norm": NORM,
    "simple_rnn": _gates(("",), "i"),
    "lstm": _gates("ifgo", "h"),
    "gru": _gates("rzn", "i"),
    "conv_lstm": Converter(_read_conv_lstm, _write_conv_lstm),
    "multi_head_attention": Converter(merge_heads, split_heads),
}
"""The converter of each kind of layer that Flax has."""
