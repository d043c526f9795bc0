"""How much the examples of each class count while a model trains."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import Ragged, bad_type, bad_value
from jaxdl.core.checks import is_int
from jaxdl.core.targets import without_masked

ClassWeight = Mapping[int, float] | Sequence[float] | str


def class_weights(call: str, class_weight: Any) -> tuple[float, ...]:
    """The weight of each class from 0 on, of a mapping or an array; nan where a mapping does not name it."""
    if isinstance(class_weight, Mapping):
        if not class_weight or not all(is_int(label) and label >= 0 for label in class_weight):
            raise bad_value(call, "class_weight must be {label: weight}, of labels from 0 on", dict(class_weight))
        given = {int(label): weight for label, weight in class_weight.items()}
    else:
        if isinstance(class_weight, str):
            needs = 'class_weight must be "balanced" (of fit alone), {label: weight}, or a weight for each class'
            raise bad_value(call, f"{needs}, of shape (classes,)", repr(class_weight))
        array = np.asarray(class_weight)
        if array.ndim != 1 or not array.size:
            needs = "class_weight must be {label: weight}, or a weight for each class, of shape (classes,)"
            raise bad_value(call, needs, class_weight)
        given = dict(enumerate(array.tolist()))
    if not all(isinstance(weight, int | float) and 0 <= weight < math.inf for weight in given.values()):
        raise bad_value(call, "class_weight must be finite numbers of 0 or more", given)
    return tuple(float(given.get(label, math.nan)) for label in range(max(given) + 1))


def balanced(call: str, data: Any) -> dict[int, float]:
    """``n / (k · count)`` for each label of ``n``, of ``k`` different ones: scikit-learn's formula."""
    if isinstance(data, tuple) and len(data) == 2:
        data = {"y": data[1]}
    if not isinstance(data, dict) or "y" not in data:
        needs = 'class_weight="balanced" needs data whose labels are at hand: {"x", "y"} as arrays'
        raise bad_value(call, needs, type(data).__name__, "Did you mean class_weight={label: weight}?")
    labels, counts = np.unique(_labels(call, data["y"], data.get("weight")), return_counts=True)
    return dict(zip(labels.tolist(), (counts.sum() / (len(labels) * counts)).tolist(), strict=True))


def _labels(call: str, target: Any, weight: Any = None) -> np.ndarray:
    """The integer labels that count, in a row, on the host."""
    array = target.x if isinstance(target, Ragged) else target
    _check_integers(call, array)
    counts: Any = np.ones(array.shape, bool)
    counts = without_masked(Ragged(counts, target.lengths) if isinstance(target, Ragged) else counts, weight)
    counts = counts.x if isinstance(counts, Ragged) else counts
    return np.asarray(array)[np.asarray(counts)]


def _check_integers(call: str, labels: Any) -> None:
    if not hasattr(labels, "dtype") or not jnp.issubdtype(labels.dtype, jnp.integer):
        hint = "Did you mean y.argmax(-1), or weights for each example in data['weight']?"
        raise bad_type(call, "class_weight needs integer labels", labels, hint)


def check_class_weight(call: str, weights: tuple[float, ...], target: Any, weight: Any = None) -> None:
    """Raise, on the host, for targets that are no integers, and for labels that have no weight."""
    found = np.unique(_labels(call, target, weight))
    missing = [int(label) for label in found if not 0 <= label < len(weights) or math.isnan(weights[label])]
    if missing:
        named = [label for label, value in enumerate(weights) if not math.isnan(value)]
        raise bad_value(call, "class_weight must have a weight for each label", f"none for {missing}, only for {named}")


def weight_by_class(weights: tuple[float, ...], target: Any, weight: Any) -> jax.Array:
    """The weight of each label times that of its example, which begins its shape; 0 where that is 0, nan for a label
    that has none."""
    labels = target.x if isinstance(target, Ragged) else target
    _check_integers("class_weight", labels)
    # Of a label that no check on the host saw: nan, as for one without a weight, and not another class' weight.
    missing = (labels < 0) | (labels >= len(weights))
    chosen = jnp.where(missing, jnp.nan, jnp.asarray(weights, float).at[labels].get(mode="clip"))
    if weight is None:
        return chosen
    weight = jnp.asarray(weight)
    weight = jnp.expand_dims(weight, range(weight.ndim, chosen.ndim))
    return jnp.where(weight == 0, 0, chosen * weight)
