"""What modules of the other side fill in a model: its layers with parameters or state, their parts and members."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import jax

from jaxdl.core import LayerLike, Part, bad_type, build, flat_paths, specs
from jaxdl.core.children import kind_of
from jaxdl.interop.converters import Leaf


class Leaves(NamedTuple):
    """What modules fill in a model, in the order in which it is built; and the specs of its extra losses by path, which
    are zero between steps and have no counterpart."""

    filled: list[Leaf]
    aux_losses: dict[str, Any]


def leaves_of(call: str, model: LayerLike, x: Any) -> Leaves:
    """The leaves of a model for inputs like ``x``; the members of a stack one after the other."""
    parts: list[Part] = []

    def visit(key: jax.Array) -> Any:
        built = build(model, key, specs(x), parts.append)
        return built.params, built.state

    whole = jax.eval_shape(visit, jax.random.key(0))
    leaves = _leaves(parts, ())
    have = {place for leaf in leaves for place in leaf.places.values()}
    rest = {path: spec for tree in whole for path, spec in flat_paths(tree).items() if path not in have}
    for path in (path for path in rest if not _is_aux_loss(path)):
        raise bad_type(call, f'the array at "{path}" must belong to a layer with a counterpart', repr(model))
    return Leaves(leaves, rest)


def _is_aux_loss(path: str) -> bool:
    return path.rpartition("/")[2] == "aux_loss"


def _leaves(parts: Sequence[Part], member: tuple[int, ...]) -> list[Leaf]:
    leaves: list[Leaf] = []
    depth = len(member)
    for stack, members in groupby(parts, lambda part: part.stacks[depth] if len(part.stacks) > depth else None):
        group = list(members)
        if stack is None:
            leaves += [leaf for part in group for leaf in _leaves_of_part(part, member)]
        else:
            leaves += [leaf for i in range(stack[1]) for leaf in _leaves(group, (*member, i))]
    return leaves


_DENSE = {"kernel": "kernel", "bias": "bias"}
PIECES = {
    "feed_forward": [("dense", "gate", _DENSE), ("dense", "up", _DENSE), ("dense", "down", _DENSE)],
    "separable_conv": [
        ("depthwise_conv", "", {"kernel": "depthwise_kernel"}),
        ("conv", "", {"kernel": "pointwise_kernel", "bias": "bias"}),
    ],
}
"""Layers that are several modules elsewhere: the kind of each, and where its arrays lie in the layer. The gate stands
first, as in the usual names of the three, for it has the shape of ``up``."""


def _leaves_of_part(part: Part, member: tuple[int, ...]) -> list[Leaf]:
    trees = [_of_one_member(tree, len(part.stacks)) for tree in part.built[:2]]
    kind = _wrapped_kind(part, trees)
    names = {name: name for tree in trees for name in tree if not _is_aux_loss(name)}
    found = []
    for piece, folder, places in PIECES.get(kind, [(kind, "", names)]):
        path = joined(part.path, folder) if folder else part.path
        params, state = (
            {name: tree[joined(folder, place)] for name, place in places.items() if joined(folder, place) in tree}
            for tree in trees
        )
        if params or state:
            at = {name: joined(path, place) for name, place in places.items()}
            found.append(Leaf(path, piece, part.layer, part.input, member, params, state, at))
    return found


def _of_one_member(tree: Any, stacks: int) -> dict[str, Any]:
    flat = flat_paths(tree)
    return {name: jax.ShapeDtypeStruct(spec.shape[stacks:], spec.dtype) for name, spec in flat.items()}


_MARKS = {"lora/": "lora", "spectral_norm/": "spectral_norm", "kernel/direction": "weight_norm"}


def _wrapped_kind(part: Part, trees: Sequence[dict[str, Any]]) -> str:
    """``conv``, or ``weight_norm(conv)`` where a wrapper has changed the layer's parameters or added state to them."""
    names = [name for tree in trees for name in tree]
    wrappers = [wrapper for mark, wrapper in _MARKS.items() if any(name.startswith(mark) for name in names)]
    return f"{wrappers[0]}({kind_of(part.layer)})" if wrappers else kind_of(part.layer)


def joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
