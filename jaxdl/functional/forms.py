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


def _by_platform(plan: Plan, on_cpu: Form, x: jax.Array, kernel: jax.Array) -> jax.Array:
    if on_cpu.forward is plan.elsewhere.forward:
        return on_cpu.forward(plan.window, plan.groups, x, kernel)
    cpu, default = (functools.partial(form.forward, plan.window, plan.groups) for form in (on_cpu, plan.elsewhere))
    return lax.platform_dependent(x, kernel, cpu=cpu, default=default)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _planned(plan: Plan, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _by_platform(plan, plan.alone, x, kernel)


def _planned_forward(plan: Plan, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Pair]:
    # What both directions need, such as patches, XLA builds once within a program.
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


def patches_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Patches times the kernel, a product in two dimensions."""

    def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
        patches = window.patches(x)
        return (rows(patches) @ rows(kernel)).reshape(*patches.shape[:-1], kernel.shape[-1])

    return by_group(one, groups, x, kernel)


def patches_gradients(window: Window, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
    """The gradients of :func:`patches_conv`, what flows to one input from several places summed in wide numbers."""

    def one(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Pair:
        patches = window.patches(x)
        dkernel = (rows(patches).T @ rows(dy)).reshape(kernel.shape)
        dpatches = (rows(dy) @ rows(kernel).T).reshape(patches.shape)
        return window.fold(dpatches, x.shape[1:-1]), dkernel

    return by_group(one, groups, x, kernel, dy)


def shifted_conv(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """For one input channel a group: a sum over the taps of the shifted input times a row of the kernel."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    multiplier = kernel.shape[-1] // groups
    taps = rows(kernel).reshape(math.prod(window.size), *(1,) * (window.rank + 1), groups, multiplier).astype(wide)

    def part(met: jax.Array, row: jax.Array) -> jax.Array:
        return met[..., None] * row

    y = functools.reduce(jnp.add, map(part, window.taps(window.pad(x.astype(wide))), taps))
    return y.reshape(*y.shape[:-2], groups * multiplier).astype(x.dtype)


LAX = Form(lax_conv)
LEADING_TAPS = Form(leading_taps_conv)
PATCHES = Form(patches_conv, patches_gradients)
SHIFTED = Form(shifted_conv)
