"""Optimizers around optimizers: transformations of optax that are equal when they are made alike."""

from dataclasses import dataclass
from typing import Any, Protocol

import optax

from jaxdl.core import bad_type


class Rule(Protocol):
    """What :func:`transformation` takes: a frozen record with the two functions of an optimizer."""

    def init(self, params: Any) -> Any: ...

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class _Init:
    """``init`` of a rule: unlike a bound method, equal to that of a rule made alike."""

    rule: Rule

    def __call__(self, params: Any) -> Any:
        return self.rule.init(params)


@dataclass(frozen=True)
class _Update:
    rule: Rule

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return self.rule.update(updates, state, params, **extra)


def transformation(rule: Rule) -> optax.GradientTransformation:
    """The optimizer that a rule is."""
    return optax.GradientTransformationExtraArgs(_Init(rule), _Update(rule))


def rule_of(optimizer: optax.GradientTransformation) -> Any:
    """The rule that an optimizer was made from; None for others."""
    return getattr(optimizer.update, "rule", None)


def check_optimizer(call: str, value: Any) -> None:
    """Raise unless it is an optimizer."""
    if not hasattr(value, "init") or not hasattr(value, "update"):
        raise bad_type(call, "an optimizer must be from optax (init, update)", value)
