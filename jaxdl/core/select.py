"""Leaves of a tree by the glob of their path."""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import optax

from jaxdl.core.errors import bad_type, bad_value


def flat_paths(tree: Any) -> dict[str, Any]:
    """The leaves of nested dicts under their paths, such as ``encoder/conv_1/kernel``.

    Example:
        >>> flat_paths({"dense": {"kernel": 1, "bias": 2}})
        {'dense/bias': 2, 'dense/kernel': 1}
    """
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def near(path: str, paths: Iterable[str]) -> str:
    """The paths that look most like that one, for an error."""
    return ", ".join(difflib.get_close_matches(path, list(paths), n=4, cutoff=0.0)) or "none"


def globs(call: str, where: str | Sequence[str]) -> tuple[str, ...]:
    """One glob or several as a tuple of them, or an error."""
    patterns = (where,) if isinstance(where, str) else where
    if isinstance(patterns, Sequence) and patterns and all(isinstance(pattern, str) for pattern in patterns):
        return tuple(patterns)
    raise bad_type(call, "where must be a glob of paths, such as '*/kernel', or several", where)


def with_hidden(params: Any) -> Any:
    """The tree with a leaf also where an optimizer around the one at work hides a parameter from it."""
    return jax.tree.map(lambda _: 0, params, is_leaf=lambda leaf: isinstance(leaf, optax.MaskedNode))


def matches(path: str, pattern: str) -> bool:
    """Whether a path is one of a glob's; ``*/kernel`` is every one named kernel, also one at the top."""
    return any(fnmatch.fnmatchcase(path, form) for form in (pattern, pattern.removeprefix("*/")))


def select(call: str, tree: Any, where: str | Sequence[str]) -> Any:
    """The tree with True for each leaf whose path matches the glob (or one of them), and False for the others.

    ``*`` stands for any text, ``/`` included; ``*/kernel`` is every leaf named kernel, also one at the top.

    **Raises** ``ValueError`` for a pattern that matches nothing; it lists the paths nearest to it.

    Example:
        >>> select("penalty", {"dense": {"kernel": 1, "bias": 2}}, "*/kernel")
        {'dense': {'bias': False, 'kernel': True}}
    """
    paths = list(flat_paths(tree))
    chosen: set[str] = set()
    for pattern in globs(call, where):
        found = {path for path in paths if matches(path, pattern)}
        if not found:
            within = any(path.startswith(f"{pattern}/") for path in paths)
            hint = f"Did you mean {pattern + '/*'!r}?" if within else ""
            got = f"paths such as {near(pattern, paths)}"
            raise bad_value(call, f"where={pattern!r} must match a path", got, hint)
        chosen |= found
    leaves = [path in chosen for path in paths]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)
