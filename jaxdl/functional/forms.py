"""The forms that convolution can take, and how one is chosen for each platform.

A form is a function of ``(window, groups, x, kernel)``. :func:`planned` runs those of a plan, and holds the one
``custom_vjp``: `lax.platform_dependent`, differentiated through, would keep every branch's residuals.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.functional.window import Window

Pair = tuple[jax.Array, jax.Array]

# How many bytes of patches, stamps or tiles may lie in memory at once. What a whole batch would make beyond that is
# made of some images after the others; where a single image makes more, the rules take XLA's convolution.
CHUNK_BYTES = 512 << 20


class Form(NamedTuple):
    """A way to compute ``y``, and the gradients to ``x`` and to the kernel: by JAX unless the form has its own."""

    forward: Callable[[Window, int, jax.Array, jax.Array], jax.Array]
    own_gradients: Callable[[Window, int, jax.Array, jax.Array, jax.Array], Pair] | None = None

    def gradients(self, window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
        """What flows back from ``dy``."""
        if self.own_gradients is not None:
            return self.own_gradients(window, groups, x, kernel, dy)
        return jax.vjp(functools.partial(self.forward, window, groups), x, kernel)[1](dy)


class Plan(NamedTuple):
    """Which forms to take.

    **Fields** ``alone``: on CPU, where no gradient is asked for; ``trained``: on CPU, where one is; ``elsewhere``: on
    every other platform.
    """

    window: Window
    groups: int
    alone: Form
    trained: Form
    elsewhere: Form

    @classmethod
    def everywhere(cls, window: Window, groups: int, form: Form) -> "Plan":
        """One form for all."""
        return cls(window, groups, form, form, form)


def _by_platform(plan: Plan, on_cpu: Form, x: jax.Array, kernel: jax.Array) -> jax.Array:
    if on_cpu.forward is plan.elsewhere.forward:
        return on_cpu.forward(plan.window, plan.groups, x, kernel)
    cpu, default = (functools.partial(form.forward, plan.window, plan.groups) for form in (on_cpu, plan.elsewhere))
    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _planned(plan: Plan, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_platform(plan, plan.alone, x, kernel)


def _planned_forward(plan: Plan, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Pair]:
    # What both directions make of the input, such as patches, is not saved: XLA, which joins equal parts of a program,
    # may build it once.
    return _by_platform(plan, plan.trained, x, kernel), (x, kernel)


def _planned_backward(plan: Plan, saved: Pair, dy: jax.Array) -> Pair:
    if plan.trained is plan.elsewhere:
        return plan.trained.gradients(plan.window, plan.groups, *saved, dy)
    cpu, default = (
        functools.partial(form.gradients, plan.window, plan.groups) for form in (plan.trained, plan.elsewhere)
    )
    return lax.platform_dependent(*saved, dy, cpu=cpu, default=default)


_planned.defvjp(_planned_forward, _planned_backward)


def planned(plan: Plan, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The result of the plan's form for the platform that this is compiled for; its derivative is reverse mode.

    Where one form serves everywhere and has no gradients of its own, it stands as it is, forward mode included.
    """
    if plan.alone is plan.trained is plan.elsewhere and plan.trained.own_gradients is None:
        return plan.trained.forward(plan.window, plan.groups, x, kernel)
    return _planned(plan, x, kernel)


def by_group(function: Callable[..., Any], groups: int, *arrays: jax.Array) -> Any:
    """``function(*arrays)``, for each group of channels by itself; the last axis holds them, group by group."""
    if groups == 1:
        return function(*arrays)
    parts = [array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups) for array in arrays]
    results = jax.vmap(function, in_axes=-2, out_axes=-2)(*parts)
    return jax.tree.map(lambda y: y.reshape(*y.shape[:-2], groups * y.shape[-1]), results)


def fits(image_bytes: int) -> bool:
    """Whether what is made of one image may lie in memory at once."""
    return image_bytes <= CHUNK_BYTES


def by_images(function: Callable[..., tuple[Any, Any]], image_bytes: int, *arrays: jax.Array) -> tuple[Any, Any]:
    """``function(*arrays)``: what it gives for each image, and what it sums over images.

    It takes chunks of the batch axis, of as many images as make :data:`CHUNK_BYTES` where one makes ``image_bytes``,
    and the rest of the batch at last.
    """
    count, images = arrays[0].shape[0], max(1, CHUNK_BYTES // max(image_bytes, 1))
    rounds, rest = divmod(count, images)
    if rounds == 0 or (rounds, rest) == (1, 0):
        return function(*arrays)
    head = [array[: rounds * images].reshape(rounds, images, *array.shape[1:]) for array in arrays]
    *_, sums = jax.eval_shape(function, *(part[0] for part in head))

    def some(total: Any, parts: list[jax.Array]) -> tuple[Any, Any]:
        each, part = function(*parts)
        return jax.tree.map(jnp.add, total, part), each

    total, each = lax.scan(some, jax.tree.map(lambda spec: jnp.zeros(spec.shape, spec.dtype), sums), head)
    each = jax.tree.map(lambda y: y.reshape(rounds * images, *y.shape[2:]), each)
    if not rest:
        return each, total
    last, part = function(*(array[rounds * images :] for array in arrays))
    return jax.tree.map(lambda *ys: jnp.concatenate(ys), each, last), jax.tree.map(jnp.add, total, part)


def rows(array: jax.Array) -> jax.Array:
    """All axes but the last as one."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def lax_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution."""
    # Any letters do for the spatial axes, as long as they differ.
    axes = "0123456789"[: window.rank]
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=window.strides,
        padding=window.padding,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def lax_conv_batched(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution, of which a vmapped one is no grouped one, which is slow, but batched products."""

    @jax.custom_batching.custom_vmap
    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax_conv(window, groups, x, kernel)

    @convolve.def_vmap
    def many(size: int, batched: list[bool], x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, bool]:
        if all(batched):
            return jax.vmap(functools.partial(patches_conv, window, groups))(x, kernel), True
        if batched[0]:
            y = convolve(x.reshape(size * x.shape[1], *x.shape[2:]), kernel)
            return y.reshape(*x.shape[:2], *y.shape[1:]), True
        side = jnp.moveaxis(kernel, 0, -2)
        y = convolve(x, side.reshape(*side.shape[:-2], size * side.shape[-1]))
        return jnp.moveaxis(y.reshape(*y.shape[:-1], size, side.shape[-1]), -2, 0), True

    result: jax.Array = convolve(x, kernel)
    return result


def leading_taps_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A sum over the taps of all spatial axes but the last three, of three-dimensional convolutions."""
    extra = window.rank - 3
    outer, inner = window.over(slice(extra)), window.over(slice(extra, None))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    places, volume = (x.shape[0], *outer.positions(x.shape[1 : extra + 1])), x.shape[extra + 1 :]

    def part(tap: tuple[int, ...], met: jax.Array) -> jax.Array:
        return lax_conv(inner, groups, met.reshape(math.prod(places), *volume), kernel[tap]).astype(wide)

    # To the outer window, all that lies within its axes is channels.
    flat = x.reshape(*x.shape[: extra + 1], math.prod(volume))
    total = functools.reduce(jnp.add, map(part, np.ndindex(*outer.size), outer.taps(outer.pad(flat))))
    return total.reshape(*places, *total.shape[1:]).astype(x.dtype)


def patches_bytes(window: Window, x: jax.Array) -> int:
    """How many bytes the patches of one image are."""
    return math.prod(window.positions(x.shape[1:-1])) * math.prod(window.size) * x.shape[-1] * x.dtype.itemsize


def patches_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Patches times the kernel, a product in two dimensions."""

    def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
        patches = window.patches(x)
        return (rows(patches) @ rows(kernel)).reshape(*patches.shape[:-1], kernel.shape[-1])

    return by_images(lambda x: (by_group(one, groups, x, kernel), ()), patches_bytes(window, x), x)[0]


def patches_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`patches_conv`, what flows to one input from several places summed in wide numbers."""
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def one(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
        patches = window.patches(x)
        dkernel = (rows(patches).T @ rows(dy)).reshape(kernel.shape)
        dpatches = (rows(dy) @ rows(kernel).T).reshape(patches.shape)
        return window.fold(dpatches, x.shape[1:-1]), dkernel.astype(wide)

    made = 2 * patches_bytes(window, x)  # the patches, and what flows to them
    dx, dkernel = by_images(lambda x, dy: by_group(one, groups, x, kernel, dy), made, x, dy)
    return dx, dkernel.astype(kernel.dtype)


LAX = Form(lax_conv)
LAX_BATCHED = Form(lax_conv_batched)  # not to be differentiated
LEADING_TAPS = Form(leading_taps_conv)
PATCHES = Form(patches_conv, patches_gradients)
