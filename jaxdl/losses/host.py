"""Checks of whole data sets on the host: what no one sees inside of ``jit``."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdl.core import Ragged
from jaxdl.core.targets import check_at_least_zero, check_binary_labels, check_labels, unbound, without_masked
from jaxdl.losses.classes import binary_cross_entropy, binary_focal, cross_entropy, focal, hinge
from jaxdl.losses.dice import binary_dice, dice
from jaxdl.losses.distributions import kl_divergence, wasserstein
from jaxdl.losses.numbers import poisson
from jaxdl.losses.sequences import check_ctc_labels, ctc


def check_targets(loss: Any, prediction: Any, target: Any, weight: Any = None) -> None:
    """Check a whole data set's targets on the host, for the losses of this room: inside ``jit`` values are not seen.

    **Args** ``loss``: one of these, or a partial of it; for others nothing is checked. ``prediction``: an array or spec
    of a prediction, for its shape; ``target``: the real targets of a data set, with any number of examples;
    ``weight``: None, or theirs: what has weight 0, or is padding, may be anything.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> check_targets(cross_entropy, jax.ShapeDtypeStruct((32, 10), jnp.float32), np.array([0, 10]))
        Traceback (most recent call last):
        ValueError: cross_entropy: labels must be from 0 to 9 for 10 classes; got labels from 0 to 10
    """
    function = unbound(loss)
    if function is ctc:
        whole = jax.tree.map(np.asarray, target)
        if weight is not None and np.ndim(weight) == 1:  # a label of 0 may be the blank
            whole = jax.tree.map(lambda leaf: leaf[np.asarray(weight) != 0], whole)
        blank = loss.keywords.get("blank", 0) if isinstance(loss, functools.partial) else 0
        return check_ctc_labels("ctc", _like(prediction, jax.tree.leaves(whole)[0]), whole, blank=blank)
    check = _HOST_CHECKS.get(function)
    if check is None:
        return None
    target = without_masked(target, weight)
    target = np.asarray(target.x if isinstance(target, Ragged) else target)
    return check(function.__name__, _like(prediction, target), target)


def _like(prediction: Any, target: Any) -> jax.ShapeDtypeStruct:
    """The spec of a prediction for as many examples as there are targets."""
    return jax.ShapeDtypeStruct((target.shape[0], *prediction.shape[1:]), prediction.dtype)


def _binary(call: str, prediction: Any, target: Any) -> None:
    check_binary_labels(call, target)


def _at_least_zero(call: str, prediction: Any, target: Any) -> None:
    check_at_least_zero(call, target)


_HOST_CHECKS: dict[Any, Callable[[str, Any, Any], None]] = (
    dict.fromkeys([cross_entropy, focal, dice], check_labels)
    | dict.fromkeys([binary_cross_entropy, binary_focal, hinge, binary_dice, kl_divergence, wasserstein], _binary)
    | {poisson: _at_least_zero}
)
