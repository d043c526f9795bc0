"""What makes two arguments of a layer the same."""

import functools
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

    Containers and partials are taken apart; what cannot be hashed, such as an array, is the same as itself alone.
    """
    if isinstance(value, functools.partial):
        return ("partial", identity(value.func), identity(value.args), identity(value.keywords))
    if isinstance(value, dict):
        return (type(value), tuple((name, identity(item)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return (tuple, tuple(map(identity, value)))
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return (type(value), value)
