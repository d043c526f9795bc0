"""What every source of weights shares: which module of the other side fills which leaf of a model, and the checks.

A *leaf* is a layer of the model that has parameters or state, a *module* what holds the arrays of one layer on the
other side. A converter knows the layouts of both for one kind of layer; its ``write`` says, too, which arrays of which
shapes a leaf needs from a module, so that all is checked before anything is read.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from jaxdl.core import bad_type, bad_value, describe, flat_paths
from jaxdl.interop.converters import Arrays, Converter, Leaf


class Module(NamedTuple):
    """One module of the other side: its name, its arrays, and the whole key of each in what they came from."""

    name: str
    arrays: Arrays
    keys: dict[str, Any]

    def __str__(self) -> str:
        return f'module "{self.name}" with {shapes_text(self.arrays)}'


Pairs = list[tuple[Leaf, Module]]
Choose = Callable[[str, Leaf, list[Module]], Module]


def shapes_text(arrays: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {list(array.shape)}".replace(" [", "[") for name, array in arrays.items())


def converter_of(call: str, table: Mapping[str, Converter], leaf: Leaf) -> Converter:
    """The converter of the leaf's kind, or an error that lists the kinds there are."""
    if leaf.kind not in table:
        raise bad_type(call, f"{leaf} must be of a kind that has a counterpart", f"one of {', '.join(table)}")
    return table[leaf.kind]


def needed(call: str, table: Mapping[str, Converter], leaf: Leaf) -> Arrays:
    """What a leaf needs from a module: views of the right names and shapes that hold no numbers."""
    blank = {name: np.broadcast_to(np.float32(0), spec.shape) for name, spec in (leaf.params | leaf.state).items()}
    converter = converter_of(call, table, leaf)
    try:
        return converter.write(leaf, blank)
    except KeyError as error:
        raise bad_value(call, f"{leaf} must have {error} of its own, not tied", ", ".join(blank)) from None


def shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in arrays.items()}


def first(call: str, leaf: Leaf, modules: list[Module]) -> Module:
    """The first of the modules that fit: for a source that keeps the order in which they were made."""
    return modules[0]


def match(
    call: str,
    table: Mapping[str, Converter],
    leaves: Sequence[Leaf],
    modules: Iterable[Module],
    given: Mapping[str, str] | None,
    choose: Choose = first,
) -> Pairs:
    """Which module fills each leaf: one whose arrays fit, chosen as ``given``, by its name, or in order.

    A module of the leaf's own name fills it. Where the order would give a leaf the module of another's name, that is an
    error: the name may be true, or alike by chance (``conv_1``, where the two sides count from 0 and from 1).

    **Args** ``given``: the name of a module, or of one that holds several, for the path of a leaf, or of a part of the
    model; ``choose``: picks one of several unused modules that fit.
    """
    left, waiting = list(modules), list(leaves)
    given = dict(given or {})
    _check_given(call, given, waiting, left)
    found: Pairs = []
    shared = _shared([module.name for module in left])
    for path, prefix in [*sorted(given.items(), key=lambda item: -item[0].count("/")), ("", "")]:
        prefixes = {prefix} if prefix else {"", shared}
        group = [leaf for leaf in waiting if within(leaf.path, path)]
        named = [(leaf, _own_names(leaf, path, prefixes)) for leaf in group]
        for i, (leaf, names) in enumerate(named):
            need = needed(call, table, leaf)
            unused = [module for module in left if within(module.name, prefix)]
            fitting = [module for module in unused if shapes(module.arrays) == shapes(need)]
            if not fitting:
                got = "; ".join(map(str, unused[:4])) or "none that is left"
                raise bad_value(call, f"{leaf} needs a module with {shapes_text(need)}", got, _HINT)
            own = [module for module in fitting if _dotted(module.name) in names]
            module = own[0] if own else choose(call, leaf, fitting)
            for other, theirs in [] if own else named[i + 1 :]:
                _check_is_not_of(call, table, other, theirs, leaf, module)
            found.append((leaf, module))
            waiting.remove(leaf)
            left = [other for other in left if other is not module]
    if left:
        known = ", ".join(map(str, leaves)) or "none"
        raise bad_value(call, f"every module must fill a layer of the model ({known})", "; ".join(map(str, left[:4])))
    return found


_HINT = "Did you mean modules={'path of the layer': 'name of the module'}?"


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _shared(names: Sequence[str]) -> str:
    """What all the dotted names stand under."""
    columns = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))


def _own_names(leaf: Leaf, path: str, prefixes: Iterable[str]) -> set[str]:
    """The names that a module just for this leaf may have: its path below ``path``, under one of the prefixes. A member
    of a stack, whose path is that of the others, has none."""
    own = leaf.path.removeprefix(path).strip("/")
    return set() if leaf.member else {_dotted("/".join(filter(None, (prefix, own)))) for prefix in prefixes}


def _check_is_not_of(
    call: str, table: Mapping[str, Converter], other: Leaf, names: set[str], leaf: Leaf, module: Module
) -> None:
    """Raise where a module that the order gives to a leaf has the name of another, later one, and fits that as well."""
    if other.path == leaf.path or _dotted(module.name) not in names:
        return
    if shapes(needed(call, table, other)) == shapes(module.arrays):
        needs = f"{leaf} must not take by order what has the name of another layer"
        raise bad_value(call, needs, f'"{module.name}", the next that fits', _HINT)


def within(name: str, prefix: str) -> bool:
    """Whether a name is the prefix, or stands under it."""
    return not prefix or name == prefix or name.startswith((prefix + "/", prefix + "."))


def _check_given(call: str, given: Mapping[str, str], leaves: Sequence[Leaf], modules: Sequence[Module]) -> None:
    paths, names = [leaf.path for leaf in leaves], [module.name for module in modules]
    for path, prefix in given.items():
        for word, text, known in (("path", path, paths), ("module", prefix, names)):
            if not any(within(one, text) for one in known):
                near = difflib.get_close_matches(text, known, n=4, cutoff=0.0)
                raise bad_value(call, f"modules: {text!r} must be a {word}", f"one such as {', '.join(near) or 'none'}")


def read(
    table: Mapping[str, Converter], pairs: Pairs, aux_losses: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the state that a model's leaves read from their modules; extra losses are zero."""
    trees: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    members: dict[tuple[int, str], dict[tuple[int, ...], Any]] = {}
    for leaf, module in pairs:
        found = table[leaf.kind].read(leaf, module.arrays)
        for tree, names in enumerate((leaf.params, leaf.state)):
            for name in names:
                members.setdefault((tree, leaf.places[name]), {})[leaf.member] = found[name]
    for (tree, path), arrays in members.items():
        _put(trees[tree], path, jnp.asarray(_stacked(arrays)))
    for path, spec in aux_losses.items():
        _put(trees[1], path, jnp.zeros(spec.shape, spec.dtype))
    return trees


def _put(tree: dict[str, Any], path: str, array: Any) -> None:
    *folders, name = path.split("/")
    for folder in folders:
        tree = tree.setdefault(folder, {})
    tree[name] = array


def _stacked(arrays: dict[tuple[int, ...], Any]) -> Any:
    """The array of one member, or those of all under their indices, stacked."""
    sizes = [1 + max(axis) for axis in zip(*arrays, strict=True)]
    return np.reshape([arrays[index] for index in np.ndindex(*sizes)], (*sizes, *arrays[(0,) * len(sizes)].shape))


def on_host(params: Any, state: Any) -> tuple[Arrays, Arrays]:
    """Both trees as NumPy arrays by path."""
    flat_params, flat_state = (flat_paths(jax.device_get(tree)) for tree in (params, state))
    return flat_params, flat_state


def write(call: str, table: Mapping[str, Converter], leaf: Leaf, trees: tuple[Arrays, Arrays]) -> Arrays:
    """A leaf's arrays as its module has them: NumPy arrays of their own memory."""
    found: Arrays = {}
    for tree, wanted in zip(trees, (leaf.params, leaf.state), strict=True):
        for name, spec in wanted.items():
            path = leaf.places[name]
            array = np.asarray(tree[path]) if path in tree else None
            if array is None or array.shape[len(leaf.member) :] != spec.shape:
                got = f"none among {', '.join(tree) or 'no arrays'}" if array is None else describe(array)
                raise bad_value(call, f'the array at "{path}" must have shape {spec.shape}', got)
            found[name] = array[leaf.member]
    return {name: np.array(array, order="C") for name, array in table[leaf.kind].write(leaf, found).items()}


def as_array(tensor: Any) -> np.ndarray:
    """A tensor of PyTorch, or an array, as a NumPy array of the same dtype."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy does not have by itself
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    return tensor.numpy()
