"""Devices as a grid with named axes."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxdl.core import bad_type, bad_value
from jaxdl.core.checks import is_int

AXES = ("data", "sequence", "expert", "model")


def mesh(*, devices: Sequence[Any] | None = None, **axes: int) -> Mesh:
    """A grid of devices for :func:`jaxdl.fit`, :func:`jaxdl.run` and the like: ``mesh(data=4, model=2)`` is of eight.

    Each axis has a name and a size, and one size may be −1: what is left. Over ``data`` and ``expert`` the examples of
    a batch are spread, over ``sequence`` the positions of each. Over which axes parameters are spread is said by
    ``sharding``, see :func:`layout`. The devices that are next to each other along the last axis exchange the most:
    ``model`` comes last.

    **Args** ``devices``: all of the program by default; the first ones where the sizes ask for fewer.

    **Raises** ``ValueError`` for other names, and for sizes that the devices do not come to.

    Example:
        >>> import jax
        >>> mesh(data=1).shape["data"], mesh(data=-1).size == len(jax.devices())
        (1, True)
    """
    everything = list(jax.devices() if devices is None else devices)
    if not everything:
        raise bad_value("mesh", "devices must hold at least one device", "none")
    if not axes or not set(axes) <= set(AXES):
        raise bad_value(
            "mesh", f"axes must be of {', '.join(AXES)}", ", ".join(axes) or "none", "Did you mean data=-1?"
        )
    for name, size in axes.items():
        if not is_int(size) or (size < 1 and size != -1):
            raise bad_value("mesh", f"{name} must be a positive int, or -1 for what is left", repr(size))
    if list(axes.values()).count(-1) > 1:
        raise bad_value("mesh", "one size may be -1", ", ".join(f"{name}={size}" for name, size in axes.items()))
    ordered = {name: axes[name] for name in AXES if name in axes}
    known = math.prod(size for size in ordered.values() if size != -1)
    sizes = [len(everything) // known if size == -1 else size for size in ordered.values()]
    count = math.prod(sizes)
    if not 0 < count <= len(everything) or (-1 in axes.values() and count != len(everything)):
        got = f"{len(everything)} {everything[0].platform} devices"
        shown = ", ".join(f"{name}={size}" for name, size in axes.items())
        hint = ""
        if -1 in axes.values() and known < len(everything):
            hint = f"{len(everything)} does not divide by {known}"
        elif everything[0].platform == "cpu":
            hint = f"XLA_FLAGS=--xla_force_host_platform_device_count={max(known, count)} makes one CPU so many"
        raise bad_value("mesh", f"{shown} must be a number of devices that there is", got, hint)
    if devices is None:
        return jax.make_mesh(sizes, tuple(ordered), axis_types=(AxisType.Auto,) * len(sizes))
    grid = np.array(everything[:count]).reshape(sizes)
    return Mesh(grid, tuple(ordered), axis_types=(AxisType.Auto,) * len(sizes))


def usable(mesh: Mesh) -> bool:
    """Whether all axes of a mesh have names of ours, and are the compiler's to use."""
    return set(mesh.axis_names) <= set(AXES) and set(mesh.axis_types) == {AxisType.Auto}


def check_mesh(call: str, given: Any) -> Mesh:
    """A mesh all of whose axes are the compiler's to use: one of explicit axes is made such a one."""
    if not isinstance(given, Mesh):
        raise bad_type(call, "mesh must be a Mesh", given, "Did you mean dl.mesh(data=-1)?")
    if unknown := set(given.axis_names) - set(AXES):
        names = ", ".join(map(repr, sorted(unknown)))
        raise bad_value(
            call, f"the axes of a mesh must be of {', '.join(AXES)}", names, "Did you mean dl.mesh(data=…)?"
        )
    if AxisType.Manual in given.axis_types:
        raise bad_value(call, "a mesh must have axes that the compiler may use", f"{given}, with manual ones")
    return Mesh(given.devices, given.axis_names, axis_types=(AxisType.Auto,) * len(given.axis_names))
