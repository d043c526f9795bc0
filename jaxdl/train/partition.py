"""Parts of the parameters, by the glob of their path: frozen, at a rate of their own, with or without decay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import optax

from jaxdl.core import bad_type, bad_value, flat_paths, select
from jaxdl.core.select import globs, with_hidden
from jaxdl.train.transformation import check_optimizer, transformation

Groups = tuple[tuple[tuple[str, ...], optax.GradientTransformation], ...]

_STAND_STILL = optax.set_to_zero()


def freeze(optimizer: optax.GradientTransformation, where: str | Sequence[str]) -> optax.GradientTransformation:
    """The optimizer, for all parameters but those whose path matches: these get no update, and do not decay.

    The optimizer does not see them, so that it keeps no moments for them, and a clipping within it takes the norm of
    the others alone. To thaw them, go on with another optimizer and its fresh state:
    ``train_state.replace(opt_state=optimizer.init(train_state.params))``. To train a part alone, name that part:
    ``by_path({"head/*": optimizer}, optax.set_to_zero())``.

    State is no parameter: the running statistics of a frozen batch norm go on moving as batches are read. To hold them
    too, wrap the frozen part in a layer of one's own whose ``apply`` calls the part's with ``train=False``.

    **Args** ``where``: a glob of paths or several, such as ``"encoder/*"``; ``*`` stands for any text, ``/`` included.

    **Raises** ``ValueError`` for a glob that matches nothing, as soon as the parameters are known; it lists the nearest
    paths.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> optimizer = freeze(optax.adamw(0.1, weight_decay=0.5), "encoder/*")
        >>> params = {"encoder": {"kernel": jnp.ones(2)}, "head": {"kernel": jnp.ones(2)}}
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> updates["encoder"]["kernel"].tolist(), bool((updates["head"]["kernel"] < 0).all())
        ([0.0, 0.0], True)
    """
    return _partition(_Partition("freeze", ((globs("freeze", where), _STAND_STILL),), optimizer))


def by_path(
    groups: Mapping[str | tuple[str, ...], optax.GradientTransformation], default: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimizer for each group of parameters, by the glob of their path, and one for the rest.

    A parameter belongs to the first group that matches it.

    **Args** ``groups``: ``{glob, or a tuple of globs: optimizer}``; ``default``: the optimizer of all others.

    **Raises** ``ValueError`` for a glob that matches nothing (it lists the nearest paths), or nothing that an earlier
    group has left, as soon as the parameters are known.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> optimizer = by_path({"encoder/*": optax.sgd(0.01), "*/bias": optax.sgd(1.0)}, optax.sgd(0.1))
        >>> params = {"encoder": {"bias": jnp.ones(1)}, "head": {"bias": jnp.ones(1), "kernel": jnp.ones(1)}}
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> [round(float(updates[part][name][0]), 3) for part, name in
        ...     [("encoder", "bias"), ("head", "bias"), ("head", "kernel")]]
        [-0.01, -1.0, -0.1]
    """
    if not isinstance(groups, Mapping) or not groups:
        raise bad_type("by_path", "groups must be {glob: optimizer}", groups)
    pairs = tuple((globs("by_path", where), optimizer) for where, optimizer in groups.items())
    return _partition(_Partition("by_path", pairs, default))


def path_mask(where: str | Sequence[str]) -> Callable[[Any], Any]:
    """A function of the parameters that is True where a path matches: what ``optax.adamw(mask=…)`` and
    ``optax.masked`` take. Two of the same globs are equal.

    Example:
        >>> import optax
        >>> path_mask("*/kernel")({"dense": {"kernel": 1, "bias": 2}})
        {'dense': {'bias': False, 'kernel': True}}
        >>> optimizer = optax.adamw(1e-3, weight_decay=0.1, mask=path_mask("*/kernel"))
    """
    return _Mask(globs("path_mask", where))


@dataclass(frozen=True)
class _Mask:
    where: tuple[str, ...]

    def __call__(self, params: Any) -> Any:
        return select("path_mask", with_hidden(params), self.where)


@dataclass(frozen=True)
class _Partition:
    call: str
    groups: Groups
    default: optax.GradientTransformation

    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        optimizers = {str(number): optimizer for number, (_, optimizer) in enumerate(self.groups)}
        return optax.partition(optimizers | {"default": self.default}, self.labels)

    def init(self, params: Any) -> Any:
        return self.optimizer().init(params)

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return self.optimizer().update(updates, state, params, **extra)

    def labels(self, params: Any) -> Any:
        """For each parameter the number of the first group that matches it, or ``default``."""
        tree = with_hidden(params)
        labels = dict.fromkeys(flat_paths(tree), "default")
        for number, (where, _) in enumerate(self.groups):
            matched = [path for path, chosen in flat_paths(select(self.call, tree, where)).items() if chosen]
            left = [path for path in matched if labels[path] == "default"]
            if not left:
                needs = f"where={where} must match a path that no earlier group has"
                raise bad_value(self.call, needs, f"only {', '.join(matched)}")
            labels |= dict.fromkeys(left, str(number))
        return jax.tree.unflatten(jax.tree.structure(tree), labels.values())


def _partition(partition: _Partition) -> optax.GradientTransformation:
    for value in (partition.default, *(optimizer for _, optimizer in partition.groups)):
        check_optimizer(partition.call, value)
    return transformation(partition)
