"""What makes two arguments of a layer the same."""

import functools
import types
from typing import Any


class _Same:
    """Equal to itself alone: what an argument that cannot be hashed contributes to a layer's identity."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def identity(value: Any) -> Any:
    """What makes two arguments the same: hashable, exact in type (``1``, ``1.0`` and ``True`` differ).

    Containers and partials are taken apart, and so are a library's closures, of which
    ``jax.nn.initializers.he_normal()`` gives a new one at each call; what cannot be hashed, such as an array, is the
    same as itself alone.
    """
    if isinstance(value, functools.partial):
        return ("partial", identity(value.func), identity(value.args), identity(value.keywords))
    # A script or notebook may run the same lines again with other globals; a module's are there once.
    if isinstance(value, types.FunctionType) and value.__closure__ and value.__module__ != "__main__":
        return _closure(value)
    if isinstance(value, dict):
        return (type(value), tuple((name, identity(item)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return (tuple, tuple(map(identity, value)))
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return (type(value), value)


def _closure(function: types.FunctionType) -> Any:
    """A closure by its code and what it closes over, where that is known and leads nowhere back to itself."""
    try:
        held = tuple(cell.cell_contents for cell in function.__closure__ or ())
    except ValueError:  # a cell that is not filled yet
        return (types.FunctionType, function)
    if any(isinstance(item, types.FunctionType) and item.__closure__ for item in held):
        return (types.FunctionType, function)
    bound = identity(held), identity(function.__defaults__ or ()), identity(function.__kwdefaults__ or {})
    return ("closure", function.__code__, function.__module__, *bound)
