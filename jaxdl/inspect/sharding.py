"""Where the arrays of a tree lie on the devices."""

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from jaxdl.core import bad_type, bad_value, describe, flat_paths
from jaxdl.inspect.plots import new_figure, saved

DRAWN = 12


@dataclass(frozen=True)
class Lying:
    """One array of a tree.

    **Fields** ``path``; ``array``: its dtype and shape; ``spec``: the axes of the mesh over which each of its own is
    spread; ``bytes``: on one device; ``sharding``: JAX's own.
    """

    path: str
    array: str
    spec: str
    bytes: int
    sharding: Any = field(repr=False)
    shape: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, repr=False)
class Sharding:
    """Where a tree lies; printed, it is a table.

    **Fields** ``arrays``: one :class:`Lying` for each leaf; ``devices``: how many it lies on; ``bytes``: on one of
    them; ``total``: of the tree, each array counted once.
    """

    arrays: tuple[Lying, ...]
    devices: int
    bytes: int
    total: int

    def __repr__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        table = Table("path", "array", "over")
        table.add_column("bytes a device", justify="right")
        for row in self.arrays:
            table.add_row(row.path, row.array, row.spec, f"{row.bytes:,}")
        page = io.StringIO()
        Console(file=page, width=120).print(table)
        devices = "one device" if self.devices == 1 else f"each of {self.devices} devices"
        return f"{page.getvalue()}{self.bytes:,} of {self.total:,} bytes on {devices}"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """The largest arrays, cut as they lie: each part with the numbers of the devices that hold it.

        Of an array of more axes than two the last two that are spread are drawn, or else the last two.

        **Args** ``path``: where to save a picture, if anywhere.
        """
        largest = sorted(self.arrays, key=lambda row: -math.prod(row.shape))[:DRAWN]
        columns = min(4, len(largest))
        rows = -(-len(largest) // columns)
        figure = new_figure("describe_sharding", layout="constrained", figsize=(2.8 * columns, 2.6 * rows))
        for place, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axes.set_axis_off()
            if place < len(largest):
                _draw(axes, largest[place], self.devices)
        return saved(figure, path)


def describe_sharding(tree: Any) -> Sharding:
    """Where the arrays of a tree lie: a table of paths, shapes, mesh axes and bytes a device, and a picture.

    **Args** ``tree``: of arrays, such as the ``params`` of a train state that :func:`jaxdl.fit` spread over a mesh.

    **Raises** ``TypeError`` for leaves that lie on no device, ``ValueError`` for a tree without any.

    Example:
        >>> import jax.numpy as jnp
        >>> found = describe_sharding({"dense": {"kernel": jnp.zeros((4, 6))}})
        >>> found.arrays[0].path, found.arrays[0].array, found.arrays[0].bytes
        ('dense/kernel', 'float32[4,6]', 96)
        >>> print(str(found).splitlines()[-1])
        96 of 96 bytes on one device
    """
    rows, whole = [], 0
    devices: set[Any] = set()
    for path, leaf in flat_paths(tree).items():
        if not isinstance(leaf, jax.Array):
            raise bad_type("describe_sharding", f"{path or 'the leaf'} must be an array of JAX", leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        devices |= leaf.sharding.device_set
        size = math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        rows.append(Lying(path, describe(leaf), _over(leaf.sharding), size, leaf.sharding, leaf.shape))
        whole += leaf.nbytes
    if not rows:
        raise bad_value("describe_sharding", "the tree must hold an array", tree)
    return Sharding(tuple(rows), len(devices), sum(row.bytes for row in rows), whole)


def _over(sharding: Any) -> str:
    """The spec as one writes it: ``model, –`` for a first axis spread over ``model``."""
    if not isinstance(sharding, NamedSharding) or not any(sharding.spec):
        return "whole"
    return ", ".join(
        "–" if not entry else entry if isinstance(entry, str) else "·".join(entry) for entry in sharding.spec
    )


def _draw(axes: Any, row: Lying, devices: int) -> None:
    """One array as a square of its parts."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    cut = row.sharding.shard_shape(row.shape)
    spread = [axis for axis in range(len(cut)) if cut[axis] < row.shape[axis]]
    shown = sorted([*spread, *[axis for axis in reversed(range(len(cut))) if axis not in spread]][:2])
    parts: dict[tuple[tuple[float, float], ...], list[int]] = {}
    for device, index in row.sharding.devices_indices_map(row.shape).items():
        spans = tuple(_span(index[axis], row.shape[axis]) for axis in shown)
        parts.setdefault((((0.0, 1.0),) * (2 - len(spans))) + spans, []).append(device.id)
    for ((top, bottom), (left, right)), held in parts.items():
        colour = colormaps["viridis"](0.05 + 0.7 * held[0] / max(devices - 1, 1))
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, facecolor=colour, edgecolor="white"))
        axes.text((left + right) / 2, (top + bottom) / 2, _numbers(held), ha="center", va="center", color="white")
    axes.set(xlim=(0, 1), ylim=(1, 0), title=f"{row.path}\n{row.array}")
    axes.title.set_fontsize(8)


def _span(part: slice, size: int) -> tuple[float, float]:
    start, stop, _ = part.indices(size)
    return start / max(size, 1), stop / max(size, 1)


def _numbers(held: Sequence[int]) -> str:
    """``0–3`` for neighbours, else each."""
    held = sorted(held)
    together = len(held) > 2 and held == list(range(held[0], held[-1] + 1))
    return f"{held[0]}–{held[-1]}" if together else ", ".join(map(str, held))
