"""What several models are made of, and how they read their sizes."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxdl import layers as L
from jaxdl.combine.parallel import parallel
from jaxdl.combine.sequential import sequential
from jaxdl.core import Layer, bad_value
from jaxdl.core.checks import positive_int, sizes

Activation = Callable[[Any], Any]


def many(call: str, name: str, values: Any, least: int = 1) -> tuple[int, ...]:
    """The values as a tuple of ``least`` or more positive ints, or an error that names them."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) < least:
        raise bad_value(call, f"{name} must be {least} or more positive ints", repr(values))
    return tuple(positive_int(call, name, value) for value in values)


def example_shape(call: str, shape: Any) -> tuple[int, ...]:
    """The shape of one example as a tuple of positive ints, or an error that names it."""
    if isinstance(shape, str) or (isinstance(shape, Sequence) and not shape):
        needs = "shape must be the shape of one example, positive ints such as (28, 28, 1)"
        raise bad_value(call, needs, repr(shape))
    found = sizes(call, "shape", shape)
    return (found,) if isinstance(found, int) else found


def halved(call: str, shape: Any, times: int) -> tuple[tuple[int, ...], int]:
    """The spatial sizes of examples of that shape, halved that often, and their channels; an error if a half is not
    whole.
    """
    found = example_shape(call, shape)
    if len(found) < 2:
        raise bad_value(call, "shape must have spatial axes and a channel axis, such as (28, 28, 1)", shape)
    step = 2**times
    if any(size % step for size in found[:-1]):
        needs = f"spatial sizes must be multiples of {step}, to be halved {times} times"
        raise bad_value(call, needs, shape, "Did you mean fewer filters, or images padded to such sizes?")
    return tuple(size // step for size in found[:-1]), found[-1]


def conv_block(
    features: int, kernel_size: int, *, activation: Activation, batch_norm: bool, **options: Any
) -> list[Any]:
    """A convolution, batch norm in place of its bias if asked for, and an activation."""
    norm = [L.batch_norm()] if batch_norm else []
    return [L.conv(features, kernel_size, use_bias=not batch_norm, **options), *norm, activation]


def dropped(rate: float) -> list[Layer]:
    """A dropout, where there is any."""
    return [L.dropout(rate)] if rate else []


def given(part: Any) -> list[Any]:
    """What may be None, as the children that it makes."""
    return [] if part is None else [part]


def same(x: Any) -> Any:
    """x as it is."""
    return x


def target_of(pair: tuple[Any, Any]) -> Any:
    """The target of (target, memory)."""
    return pair[0]


def beside_memory(*layers: Any) -> Layer:
    """Layers for the target of (target, memory), one after the other; the memory stays as it is."""
    return parallel(("target", sequential(*layers)), ("memory", same))
