"""Learning rates by epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jaxdl.core import bad_type
from jaxdl.core.checks import positive_int


@dataclass(frozen=True)
class _ByEpoch:
    schedule: Callable[[Any], Any]
    steps: int

    def __call__(self, step: Any) -> Any:
        # The whole epochs in integers: a rounded quotient would change the rate a step late.
        return self.schedule(step // self.steps + (step % self.steps) / jnp.float32(self.steps))


def by_epoch(schedule: Callable[[Any], Any], steps_per_epoch: int) -> Callable[[Any], Any]:
    """A schedule of optax that counts epochs instead of steps: ``schedule(step / steps_per_epoch)``.

    Within an epoch it goes on, in fractions of one; for a rate that changes between epochs alone take a schedule of
    steps, such as ``optax.piecewise_constant_schedule``.

    **Args** ``steps_per_epoch``: ``ceil(examples / batch_size)``; rounded down with ``remainder="drop"``.

    Example:
        >>> import optax
        >>> rate = by_epoch(optax.piecewise_constant_schedule(0.1, {30: 0.1, 60: 0.1}), steps_per_epoch=45)
        >>> [round(float(rate(step)), 4) for step in (0, 30 * 45 - 1, 30 * 45, 60 * 45)]
        [0.1, 0.1, 0.01, 0.001]
        >>> optimizer = optax.sgd(rate, momentum=0.9)
    """
    if not callable(schedule):
        raise bad_type("by_epoch", "schedule must be a function, such as optax.cosine_decay_schedule(…)", schedule)
    return _ByEpoch(schedule, positive_int("by_epoch", "steps_per_epoch", steps_per_epoch))
