"""Penalties of parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl.core import bad_type, bad_value, select
from jaxdl.core.checks import not_negative
from jaxdl.core.select import globs

Where = str | Sequence[str]


@dataclass(frozen=True)
class Term:
    """``strength · Σ measure(leaf)`` over the leaves whose paths match."""

    call: str
    measure: Callable[[jax.Array], jax.Array]
    strength: float
    where: tuple[str, ...]

    def __call__(self, params: Any) -> jax.Array:
        chosen = select(self.call, params, self.where)
        leaves = zip(jax.tree.leaves(params), jax.tree.leaves(chosen), strict=True)
        measures = [self.measure(_wide(leaf)) for leaf, use in leaves if use]
        return self.strength * sum(measures[1:], start=measures[0])


@dataclass(frozen=True)
class Penalty:
    """A sum of terms: ``penalty(params) -> scalar``; ``+`` joins the terms of two.

    Example:
        >>> import jax.numpy as jnp
        >>> penalty = l1(0.1) + l2(0.01, where="dense/*")
        >>> float(penalty({"dense": {"kernel": jnp.full((2, 2), 10.0)}}))
        8.0
        >>> penalty == l1(0.1) + l2(0.01, where="dense/*")
        True
    """

    terms: tuple[Term, ...]

    def __call__(self, params: Any) -> jax.Array:
        values = [term(params) for term in self.terms]
        return sum(values[1:], start=values[0])

    def __add__(self, other: "Penalty") -> "Penalty":
        if not isinstance(other, Penalty):
            raise bad_type("Penalty.__add__", "a penalty is added to another one", other)
        return Penalty(self.terms + other.terms)


def l1(strength: float, *, where: Where = "*kernel") -> Penalty:
    """``strength · Σ |w|``, as in Keras; the subgradient at 0 is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> float(l1(0.5)({"kernel": jnp.array([1.0, -3.0]), "bias": jnp.ones(2)}))
        2.0

    **References** Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """
    return _single("l1", _l1, strength, where)


def l2(strength: float, *, where: Where = "*kernel") -> Penalty:
    """``strength · Σ w²``, as in Keras: without the ½ with which PyTorch's and optax' weight decay is written.

    Example:
        >>> import jax.numpy as jnp
        >>> float(l2(0.5)({"kernel": jnp.array([1.0, -3.0]), "bias": jnp.ones(2)}))
        5.0

    **References** Hoerl and Kennard, Ridge regression, 1970.
    """
    return _single("l2", _l2, strength, where)


def elastic_net(l1_strength: float, l2_strength: float, *, where: Where = "*kernel") -> Penalty:
    """``l1_strength · Σ |w| + l2_strength · Σ w²``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(elastic_net(0.5, 0.5, where="*/kernel")({"dense": {"kernel": jnp.array([1.0, -3.0])}}))
        7.0

    **References** Zou and Hastie, Regularization and variable selection via the elastic net, 2005.
    """
    not_negative("elastic_net", "l1_strength", l1_strength)
    not_negative("elastic_net", "l2_strength", l2_strength)
    globs_ = globs("elastic_net", where)
    terms = (_l1, l1_strength), (_l2, l2_strength)
    return Penalty(tuple(Term("elastic_net", measure, float(strength), globs_) for measure, strength in terms))


def group_lasso(
    strength: float, *, where: Where = "*kernel", groups: Literal["outputs", "inputs"] = "outputs"
) -> Penalty:
    """``strength · Σ_g √n_g ‖w_g‖₂`` over groups g of n_g weights: whole groups go towards zero together.

    **Args** ``groups``: ``"outputs"``, the weights that lead to one unit or channel (a column of a dense kernel, all
    axes but the last); ``"inputs"``, those that come from one (a row; all axes but the one before the last).

    In parameters that are stacked, such as those of :func:`jaxdl.combine.repeat`, ``vmapped`` or ``experts``, the
    leading axis is one of these others: the units of one number in all the layers make one group. There, penalise one
    layer at a time, in a function of the parameters of one's own.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[3.0, 0.0], [4.0, 0.0]])
        >>> round(float(group_lasso(1.0)({"kernel": kernel})), 4)
        7.0711
        >>> round(float(group_lasso(1.0, groups="inputs")({"kernel": kernel})), 4)
        9.8995

    **References** Yuan and Lin, Model selection and estimation in regression with grouped variables, 2006.
    """
    if groups not in ("outputs", "inputs"):
        raise bad_value("group_lasso", 'groups must be "outputs" or "inputs"', repr(groups))
    return _single("group_lasso", _columns if groups == "outputs" else _rows, strength, where)


def _single(call: str, measure: Callable[[jax.Array], jax.Array], strength: float, where: Where) -> Penalty:
    return Penalty((Term(call, measure, not_negative(call, "strength", strength), globs(call, where)),))


def _wide(leaf: jax.Array) -> jax.Array:
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def _l1(w: jax.Array) -> jax.Array:
    return (w * jnp.sign(w)).sum()  # jnp.abs has gradient 1 at 0


def _l2(w: jax.Array) -> jax.Array:
    return jnp.square(w).sum()


def _norms(w: jax.Array, axis: int) -> jax.Array:
    """``√n Σ ‖w_g‖`` over the groups along an axis; a group of zeros has gradient 0."""
    axes = [index for index in range(w.ndim) if index != axis % w.ndim]
    squared = jnp.square(w).sum(axes)
    none = squared == 0
    size = w.size // max(w.shape[axis], 1)
    return size**0.5 * jnp.where(none, 0, jnp.sqrt(jnp.where(none, 1, squared))).sum()


def _columns(w: jax.Array) -> jax.Array:
    return _norms(w, -1)


def _rows(w: jax.Array) -> jax.Array:
    if w.ndim < 2:
        raise bad_value("group_lasso", 'groups="inputs" needs leaves of two or more axes', w)
    return _norms(w, -2)
