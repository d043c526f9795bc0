"""How PyTorch lays out the parameters of each kind of layer."""

from typing import Any

import numpy as np

from jaxdl.core import bad_value
from jaxdl.interop.converters import SIDES, Arrays, Converter, Entry, Leaf, entries, without


def channels_last(weight: Any) -> Any:
    """``(out, in, *window) -> (*window, in, out)``, which for a matrix is its transpose."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def channels_first(kernel: Any) -> Any:
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _bilinear_last(weight: Any) -> Any:
    """``(out, in1, in2) -> (in1, in2, out)``."""
    return np.moveaxis(weight, 0, -1)


def _bilinear_first(kernel: Any) -> Any:
    return np.moveaxis(kernel, -1, 0)


WEIGHT = Entry("weight", channels_last, channels_first)
PRODUCT = entries(kernel=WEIGHT, bias="bias")
NORM = entries(scale="weight", bias="bias")


def regroup(weight: Any, groups: int) -> Any:
    """``(*window, groups · in, out) -> (*window, in, groups · out)``: a transposed convolution's group by group."""
    *window, inputs, outputs = weight.shape
    parts = weight.reshape(*window, groups, inputs // groups, outputs)
    return np.moveaxis(parts, -3, -2).reshape(*window, inputs // groups, groups * outputs)


def ungroup(kernel: Any, groups: int) -> Any:
    *window, inputs, outputs = kernel.shape
    parts = kernel.reshape(*window, inputs, groups, outputs // groups)
    return np.moveaxis(parts, -2, -3).reshape(*window, groups * inputs, outputs // groups)


def _read_transposed(leaf: Leaf, arrays: Arrays) -> Arrays:
    weight = np.moveaxis(arrays["weight"], (0, 1), (-2, -1))
    groups = weight.shape[-2] // leaf.params["kernel"].shape[-2]
    return {**arrays, "kernel": regroup(weight, groups)}


def _write_transposed(leaf: Leaf, arrays: Arrays) -> Arrays:
    kernel = arrays["kernel"]
    weight = ungroup(kernel, leaf.input.shape[-1] // kernel.shape[-2])
    return {"weight": np.moveaxis(weight, (-2, -1), (0, 1)), **without(arrays, "kernel")}


# Recurrent layers: kernels transposed, the gates in the same order. PyTorch has a bias on either side of the sum.


def _read_recurrent(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {"kernel": arrays["weight_ih"].T, "recurrent_kernel": arrays["weight_hh"].T}
    if "bias_ih" in arrays:
        found["bias"] = arrays["bias_ih"] + arrays["bias_hh"]
    return found


def _write_recurrent(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {"weight_ih": arrays["kernel"].T, "weight_hh": arrays["recurrent_kernel"].T}
    if "bias" in arrays:
        found |= {"bias_ih": arrays["bias"], "bias_hh": np.zeros_like(arrays["bias"])}
    return found


def _read_gru(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = _read_recurrent(leaf, arrays)
    if "bias" in found:
        size = leaf.params["recurrent_bias"].shape[0]
        own = arrays["bias_hh"].copy()
        found["recurrent_bias"] = own[-size:].copy()  # stands inside of the reset gate's product: no part of the sum
        own[-size:] = 0
        found["bias"] = arrays["bias_ih"] + own
    return found


def _write_gru(leaf: Leaf, arrays: Arrays) -> Arrays:
    if leaf.option("reset", "after") != "after":
        raise bad_value("gru", "PyTorch applies the reset gate after the product", repr(leaf.layer))
    found = _write_recurrent(leaf, arrays)
    if "bias" in arrays:
        rest = np.zeros_like(arrays["bias"][: -len(arrays["recurrent_bias"])])
        found["bias_hh"] = np.concatenate([rest, arrays["recurrent_bias"]])
    return found


# Attention


def _read_attention(leaf: Leaf, arrays: Arrays) -> Arrays:
    found = {"out/kernel": arrays["out_proj.weight"].T}
    widths = [leaf.params[f"{side}/kernel"].shape[-1] for side in SIDES]
    ends = np.cumsum(widths)[:-1]
    if "in_proj_weight" in arrays:
        kernels = np.split(arrays["in_proj_weight"], ends)
    else:
        kernels = [arrays[f"{side[0]}_proj_weight"] for side in SIDES]
    found |= {f"{side}/kernel": kernel.T for side, kernel in zip(SIDES, kernels, strict=True)}
    if "in_proj_bias" in arrays:
        biases = np.split(arrays["in_proj_bias"], ends)
        found |= {f"{side}/bias": bias for side, bias in zip(SIDES, biases, strict=True)}
        found["out/bias"] = arrays["out_proj.bias"]
    return found


def _write_attention(leaf: Leaf, arrays: Arrays) -> Arrays:
    kernels = [arrays[f"{side}/kernel"].T for side in SIDES]
    if len({kernel.shape[1] for kernel in kernels}) == 1:
        found = {"in_proj_weight": np.concatenate(kernels)}
    else:
        found = {f"{side[0]}_proj_weight": kernel for side, kernel in zip(SIDES, kernels, strict=True)}
    if "query/bias" in arrays:
        found["in_proj_bias"] = np.concatenate([arrays[f"{side}/bias"] for side in SIDES])
    found["out_proj.weight"] = arrays["out/kernel"].T
    if "out/bias" in arrays:
        found["out_proj.bias"] = arrays["out/bias"]
    return found


# Wrappers of ``torch.nn.utils.parametrizations``, around what has its outputs first and its weight by that name


PARAMETRIZED = "parametrizations.weight."


def _weight_normed(plain: Converter) -> Converter:
    """``original0``, the lengths, with an axis for each of the weight's, and ``original1``, the direction."""

    def read(leaf: Leaf, arrays: Arrays) -> Arrays:
        scale, direction = (arrays[f"{PARAMETRIZED}original{i}"] for i in range(2))
        found = plain.read(leaf, {**arrays, "weight": direction})
        return {**found, "kernel/direction": found["kernel"], "kernel/scale": scale.reshape(-1)}

    def write(leaf: Leaf, arrays: Arrays) -> Arrays:
        found = plain.write(leaf, {**arrays, "kernel": arrays["kernel/direction"]})
        weight, scale = found.pop("weight"), arrays["kernel/scale"]
        scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
        return found | {f"{PARAMETRIZED}original0": scale, f"{PARAMETRIZED}original1": weight}

    return Converter(read, write)


def _spectral_normed(plain: Converter) -> Converter:
    """The weight and its singular vectors, of which ``v`` lies in the order of the weight's other axes."""

    def read(leaf: Leaf, arrays: Arrays) -> Arrays:
        weight = arrays[f"{PARAMETRIZED}original"]
        found = plain.read(leaf, {**arrays, "weight": weight})
        v = channels_last(arrays[f"{PARAMETRIZED}0._v"].reshape(1, *weight.shape[1:]))
        u = arrays[f"{PARAMETRIZED}0._u"]
        return {**found, "spectral_norm/kernel/u": u, "spectral_norm/kernel/v": v.reshape(-1)}

    def write(leaf: Leaf, arrays: Arrays) -> Arrays:
        v = arrays["spectral_norm/kernel/v"].reshape(*arrays["kernel"].shape[:-1], 1)
        found = plain.write(leaf, arrays)
        vectors = {"0._u": arrays["spectral_norm/kernel/u"], "0._v": channels_first(v).reshape(-1)}
        vectors["original"] = found.pop("weight")
        return found | {f"{PARAMETRIZED}{name}": array for name, array in vectors.items()}

    return Converter(read, write)


TABLE = {
    "dense": PRODUCT,
    "glu": PRODUCT,
    "maxout": PRODUCT,
    "bilinear": entries(kernel=Entry("weight", _bilinear_last, _bilinear_first), bias="bias"),
    "conv": PRODUCT,
    "depthwise_conv": PRODUCT,
    "conv_transpose": Converter(_read_transposed, _write_transposed),
    "embedding": entries(embedding="weight"),
    "attend": entries(embedding="weight"),
    "learned_positions": entries(embedding="weight"),
    "batch_norm": entries(scale="weight", bias="bias", mean="running_mean", var="running_var"),
    "layer_norm": NORM,
    "group_norm": NORM,
    "instance_norm": NORM,
    "rms_norm": NORM,
    "prelu": entries(slope="weight"),
    "simple_rnn": Converter(_read_recurrent, _write_recurrent),
    "lstm": Converter(_read_recurrent, _write_recurrent),
    "gru": Converter(_read_gru, _write_gru),
    "multi_head_attention": Converter(_read_attention, _write_attention),
}
TABLE |= {f"weight_norm({kind})": _weight_normed(PRODUCT) for kind in ("dense", "conv", "depthwise_conv")}
TABLE |= {f"spectral_norm({kind})": _spectral_normed(PRODUCT) for kind in ("dense", "conv", "depthwise_conv")}
"""The converter of each kind of layer that PyTorch has."""
