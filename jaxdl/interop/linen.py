"""Parameters from and for Flax (linen)."""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from flax import traverse_util

from jaxdl.core import LayerLike, bad_type, bad_value
from jaxdl.interop.converters import Leaf
from jaxdl.interop.leaves import leaves_of
from jaxdl.interop.linen_layers import TABLE
from jaxdl.interop.matching import Module, match, on_host, read, write

COLLECTIONS = ("params", "batch_stats")
COMPOSITES = (
    {"query", "key", "value", "out"},
    {"ii", "if", "ig", "io", "hi", "hf", "hg", "ho"},
    {"ir", "iz", "in", "hr", "hz", "hn"},
    {"i", "h"},
    {"ih", "hh"},
)
"""The children of Flax modules that one layer here stands for: attention, and the cells of recurrent layers."""


def from_flax(
    model: LayerLike, x: Any, variables: Mapping[str, Any], *, modules: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and state of a model from the ``variables`` of a Flax linen module of the same layers.

    Each layer of the model that has parameters, in order, takes the module of its own path if that fits, else one whose
    names and shapes fit. The dicts of Flax do not keep the order in which modules were called; where several fit, their
    numbers tell it (``Conv_0``, ``Conv_1``; ``Block_0/Dense_0``, ``Block_1/Dense_0``), and where their names do not,
    ``modules`` must.

    What differs, and is converted: the per-gate kernels of recurrent cells are joined, those of attention lie flat, and
    the kernel of ``ConvTranspose`` is turned about (``transpose_kernel=False``, Flax's default, is taken for granted).

    **Args** ``x``: an input, or its spec; ``variables``: ``{"params": …, "batch_stats": …}``; ``modules``: the module's
    path for the path of a layer, or of a part of the model: ``{"head": "Dense_3"}``.

    **Raises** ``ValueError`` where names or shapes do not fit, the order is not told, or something is left over;
    ``TypeError`` for a layer of a kind that Flax does not have.

    Example:
        >>> import flax.linen as nn, jax, jax.numpy as jnp
        >>> import jaxdl as dl
        >>> x = jnp.ones((1, 3))
        >>> theirs = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(2)])
        >>> model = dl.sequential(dl.layers.dense(4), jax.nn.relu, dl.layers.dense(2))
        >>> params, state = from_flax(model, x, theirs.init(jax.random.key(0), x))
        >>> params["dense_1"]["kernel"].shape
        (4, 2)
    """
    found = modules_of("from_flax", variables)
    leaves, aux_losses = leaves_of("from_flax", model, x)
    return read(TABLE, match("from_flax", TABLE, leaves, found, modules, by_number), aux_losses)


def to_flax(
    model: LayerLike,
    x: Any,
    params: Mapping[str, Any],
    state: Mapping[str, Any],
    like: Mapping[str, Any],
    *,
    modules: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The inverse of :func:`from_flax`: ``variables`` with the tree of ``like``, as NumPy arrays.

    **Args** ``like``: variables of the module that they are for, or their specs, as ``jax.eval_shape(module.init, key,
    x)`` gives them; ``modules``: as in :func:`from_flax`.

    **Raises** as :func:`from_flax`; ``ValueError`` for parameters that are not the model's.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn
        >>> import jaxdl as dl
        >>> model, x = dl.layers.dense(4), jnp.ones((1, 3))
        >>> params, state = model.init(jax.random.key(0), x)
        >>> like = jax.eval_shape(nn.Dense(4).init, jax.random.key(0), x)
        >>> to_flax(model, x, params, state, like)["params"]["kernel"].shape
        (3, 4)
    """
    leaves = leaves_of("to_flax", model, x).filled
    trees = on_host(params, state)
    flat: dict[tuple[str, ...], np.ndarray] = {}
    for leaf, module in match("to_flax", TABLE, leaves, modules_of("to_flax", like), modules, by_number):
        arrays = write("to_flax", TABLE, leaf, trees)
        flat |= {module.keys[name]: array for name, array in arrays.items()}
    return traverse_util.unflatten_dict(flat)


def modules_of(call: str, variables: Mapping[str, Any]) -> list[Module]:
    """The modules that the variables hold, in the order of their names and numbers."""
    if not isinstance(variables, Mapping) or "params" not in variables or {*variables} - {*COLLECTIONS}:
        got = f"one of {', '.join(variables)}" if isinstance(variables, Mapping) else type(variables).__name__
        raise bad_type(call, f"variables must be a dict of the collections {' and '.join(COLLECTIONS)}", got)
    found: dict[str, Module] = {}
    for collection in COLLECTIONS:
        flat = traverse_util.flatten_dict(dict(variables.get(collection, {})))
        children: dict[tuple[str, ...], set[str]] = {}
        for path in flat:
            children.setdefault(path[:-2], set()).update(path[-2:-1])
        for path, array in flat.items():
            depth = 2 if children[path[:-2]] in COMPOSITES else 1
            name, own = "/".join(path[:-depth]), "/".join(path[-depth:])
            module = found.setdefault(name, Module(name, {}, {}))
            module.arrays[own] = array
            module.keys[own] = (collection, *path)
    return sorted(found.values(), key=lambda module: [*map(_numbered, module.name.split("/"))])


_DIRECTIONS = {"forward_rnn": ("rnn", 0), "backward_rnn": ("rnn", 1)}


def _numbered(name: str) -> tuple[str, int]:
    """``Conv_12`` as ``("Conv", 12)``; a name without a number as number −1 of itself."""
    numbered = re.fullmatch(r"(.+)_(\d+)", name)
    return _DIRECTIONS.get(name) or ((numbered[1], int(numbered[2])) if numbered else (name, -1))


def by_number(call: str, leaf: Leaf, modules: list[Module]) -> Module:
    """The first of the modules that fit, if numbers alone tell their order."""
    for one, other in pairwise(module.name.split("/") for module in modules):
        differing = [(_numbered(a)[0], _numbered(b)[0]) for a, b in zip(one, other, strict=False) if a != b]
        if not differing or differing[0][0] != differing[0][1]:
            needs = f"{leaf} fits several modules, and their names do not tell the order"
            hint = f"Did you mean modules={{{leaf.path!r}: {modules[0].name!r}}}?"
            raise bad_value(call, needs, ", ".join(f'"{module.name}"' for module in modules), hint)
    return modules[0]
