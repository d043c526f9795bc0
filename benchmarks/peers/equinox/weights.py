"""The workload's weights into Equinox modules that call their layers as the weights are called."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.equinox.networks import Network
from benchmarks.workloads import Weights
from benchmarks.workloads.arrays import Arrays

PROJECTIONS = {"query": "query_proj", "key": "key_proj", "value": "value_proj", "out": "output_proj"}


def loaded(module: Any, weights: Weights, flat: tuple[int, ...] | None = None) -> Any:
    """The module with ``weights``; ``flat`` is the shape ``(*positions, channels)`` that ``dense`` sees flattened."""
    if isinstance(module, Network):
        layers = loaded(module.layers, weights, flat)
        return eqx.tree_at(lambda m: m.layers, module, layers)
    if isinstance(module, dict):
        given = {name: channels_first(weights[name], flat) if name == "dense" else weights[name] for name in module}
        return {name: loaded(layer, given[name]) for name, layer in module.items()}
    if isinstance(module, eqx.nn.MultiheadAttention):
        parts = {PROJECTIONS[name]: given for name, given in weights.items()}
        return with_leaves(module, {name: loaded(getattr(module, name), given) for name, given in parts.items()})
    return with_leaves(module, {name: jnp.array(leaf) for name, leaf in converted(module, weights).items()})


def with_leaves(module: Any, leaves: dict[str, Any]) -> Any:
    """The module with these attributes in place of its own."""
    return eqx.tree_at(lambda m: [getattr(m, name) for name in leaves], module, list(leaves.values()))


def channels_first(dense: Arrays, flat: tuple[int, ...] | None) -> Arrays:
    """The layer that sees a flattened image, for channels that come before positions."""
    if flat is None:
        return dense
    kernel = dense["kernel"].reshape(*flat, -1)
    return {**dense, "kernel": np.moveaxis(kernel, -2, 0).reshape(dense["kernel"].shape)}


def converted(module: Any, given: Arrays) -> Arrays:
    """The arrays of one module by Equinox's names, in Equinox's order of axes."""
    if "recurrent_kernel" in given:
        arrays = {"weight_ih": given["kernel"].T, "weight_hh": given["recurrent_kernel"].T, "bias": given["bias"]}
        return arrays | ({"bias_n": given["recurrent_bias"]} if "recurrent_bias" in given else {})
    if "embedding" in given:
        return {"weight": given["embedding"]}
    if "scale" in given:
        return {"weight": given["scale"], "bias": given["bias"]}
    arrays = {"weight": np.moveaxis(given["kernel"], (-2, -1), (1, 0))}
    if isinstance(module, eqx.nn.ConvTranspose):
        arrays["weight"] = np.flip(arrays["weight"], (2, 3))
    return arrays | ({"bias": given["bias"].reshape(module.bias.shape)} if "bias" in given else {})
