"""Leaves of a tree by the glob of their path."""

import difflib
import fnmatch
from collections.abc import Sequence
from typing import Any

import jax

from jaxdl.core.errors import bad_value


def flat_paths(tree: Any) -> dict[str, Any]:
    """The leaves of nested dicts under their paths, such as ``encoder/conv_1/kernel``.

    Example:
        >>> flat_paths({"dense": {"kernel": 1, "bias": 2}})
        {'dense/bias': 2, 'dense/kernel': 1}
    """
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def select(call: str, tree: Any, where: str | Sequence[str]) -> Any:
    """The tree with True for each leaf whose path matches the glob (or one of them), and False for the others.

    ``*`` stands for any text, ``/`` included; ``*/kernel`` is every leaf named kernel, also one at the top.

    **Raises** ``ValueError`` for a pattern that matches nothing; it lists the paths nearest to it.

    Example:
        >>> select("penalty", {"dense": {"kernel": 1, "bias": 2}}, "*/kernel")
        {'dense': {'bias': False, 'kernel': True}}
    """
    patterns = (where,) if isinstance(where, str) else tuple(where)
    paths = list(flat_paths(tree))
    chosen: set[str] = set()
    for pattern in patterns:
        forms = {pattern, pattern.removeprefix("*/")}
        found = {path for path in paths if any(fnmatch.fnmatchcase(path, form) for form in forms)}
        if not found:
            near = difflib.get_close_matches(pattern, paths, n=4, cutoff=0.0)
            raise bad_value(call, f"where={pattern!r} must match a path", f"paths such as {', '.join(near) or 'none'}")
        chosen |= found
    leaves = [path in chosen for path in paths]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)
