"""Where the axes of a parameter lie, by its path and shape: what ``"fsdp"``, ``"tensor"`` and ``"expert"`` mean.

A rule is read from the last axis of a parameter, since :func:`jaxdl.repeat` puts one for its layers in front.
"""

import re
from collections.abc import Callable, Sequence

Names = list[str | None]
"""For each axis of a parameter the axis of the mesh over which it is spread."""

Preset = Callable[[str, Sequence[int], Names, dict[str, int]], None]
"""``(path, shape, names, sizes of the mesh)``: put the mesh's axis where it belongs, if it divides."""

# A column part makes some of the features, or of the heads, on each device; the row part after it takes these and adds
# up over the devices. So a pair of them exchanges once.
COLUMNS = re.compile(r"(^|/)(query|key|value|up|gate|logits|dense(_\d*[02468])?)/(kernel|bias)$")
ROWS = re.compile(r"(^|/)(out|down|dense_\d*[13579])/kernel$")
VOCABULARY = re.compile(r"(^|/)(tokens|embed|embedding)/embedding$")


def put(names: Names, shape: Sequence[int], axis: int, name: str, sizes: dict[str, int]) -> None:
    """Spread that axis over ``name``, where it is there, free, and divides."""
    here = axis + len(shape)
    if name not in names and 0 <= here < len(shape) and names[here] is None and shape[here] % sizes[name] == 0:
        names[here] = name


def tensor(path: str, shape: Sequence[int], names: Names, sizes: dict[str, int]) -> None:
    """Column then row, heads, vocabulary: parameters of a transformer or an MLP over ``model``."""
    if COLUMNS.search(path):
        put(names, shape, -1, "model", sizes)
    elif ROWS.search(path) or VOCABULARY.search(path):
        put(names, shape, -2, "model", sizes)


def expert(path: str, shape: Sequence[int], names: Names, sizes: dict[str, int]) -> None:
    """The experts of :func:`jaxdl.mixture_of_experts` over ``expert``."""
    if "experts/" in path:
        put(names, shape, -3 if path.endswith("kernel") else -2, "expert", sizes)


def fsdp(path: str, shape: Sequence[int], names: Names, sizes: dict[str, int]) -> None:
    """The largest axis that is free and divides, of each parameter, over ``data``; of equals the last."""
    for axis in sorted(range(-len(shape), 0), key=lambda axis: (shape[axis], axis), reverse=True):
        put(names, shape, axis, "data", sizes)


PRESETS: dict[str, tuple[str, Preset | None]] = {
    "data": ("data", None),
    "tensor": ("model", tensor),
    "expert": ("expert", expert),
    "fsdp": ("data", fsdp),
}
"""By name: the axis of the mesh that it is about, and the rule; in the order in which they choose."""
