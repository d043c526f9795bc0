"""Convolutions and transposed convolutions."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.lowerings.rounds import (
    Function,
    Measuring,
    Round,
    Timer,
    beside,
    forward,
    gradients,
    milliseconds,
    milliseconds_by_itself,
)
from jaxdl import functional as F
from jaxdl.functional.fewer_patches import LINES, PAIRS
from jaxdl.functional.forms import LAX, PATCHES, Plan, planned
from jaxdl.functional.window import Method, Padding, Window
from jaxdl.functional.winograd import WINOGRAD_2, WINOGRAD_4

ROUNDS: dict[str, Round] = {
    "forward": forward,
    "kernel gradient": functools.partial(gradients, (1,)),
    "both gradients": functools.partial(gradients, (0, 1)),
}


class Shape(NamedTuple):
    """A convolution of a square image (or line, or cube) with a square window."""

    batch: int
    rank: int
    side: int
    channels: int
    features: int
    window: int
    stride: int = 1
    groups: int = 1
    padding: Padding = "VALID"

    def __str__(self) -> str:
        spatial = "×".join([str(self.side)] * self.rank)
        kernel = "×".join([str(self.window)] * self.rank)
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        padding = f", {self.padding}" if self.padding != "VALID" else ""
        return f"{self.batch} of {spatial}, {self.channels} → {self.features}, {kernel}{stride}{groups}{padding}"

    def arguments(self) -> tuple[jax.Array, jax.Array]:
        """An input and a kernel."""
        spatial, window = (self.side,) * self.rank, (self.window,) * self.rank
        x = jax.random.normal(jax.random.key(0), (self.batch, *spatial, self.channels))
        shape = (*window, self.channels // self.groups, self.features)
        return x, 0.05 * jax.random.normal(jax.random.key(1), shape)


CONVOLUTIONS = (
    Shape(32, 1, 100, 32, 64, 3),
    Shape(32, 1, 100, 64, 64, 5),
    Shape(32, 1, 1000, 1, 16, 9, 2),
    Shape(32, 2, 28, 1, 32, 3),
    Shape(256, 2, 28, 1, 32, 3),
    Shape(32, 2, 14, 1, 6, 5),
    Shape(32, 2, 32, 3, 16, 5),
    Shape(32, 2, 32, 3, 64, 3),
    Shape(32, 2, 32, 3, 64, 4, 4),
    Shape(8, 2, 64, 3, 64, 7, 2),
    Shape(32, 2, 16, 8, 16, 3),
    Shape(32, 2, 16, 16, 32, 3),
    Shape(32, 2, 13, 32, 64, 3),
    Shape(32, 2, 32, 64, 64, 1),
    Shape(32, 2, 32, 64, 128, 1, 2),
    Shape(32, 2, 16, 64, 128, 3, 2),
    Shape(32, 2, 32, 64, 64, 3),
    Shape(8, 2, 8, 256, 256, 3),
    Shape(1, 2, 32, 64, 64, 3, padding="SAME"),
    Shape(32, 2, 16, 32, 32, 3, padding="SAME"),
    Shape(8, 2, 4, 512, 512, 3, padding="SAME"),
    Shape(64, 2, 32, 64, 64, 3, padding="SAME"),
    Shape(64, 2, 32, 64, 128, 3, 2, padding="SAME"),
    Shape(64, 2, 16, 128, 128, 3, padding="SAME"),
    Shape(64, 2, 16, 128, 256, 3, 2, padding="SAME"),
    Shape(64, 2, 8, 256, 256, 3, padding="SAME"),
    Shape(64, 2, 8, 256, 512, 3, 2, padding="SAME"),
    Shape(64, 2, 4, 512, 512, 3, padding="SAME"),
    Shape(4, 3, 16, 1, 16, 3),
    Shape(4, 3, 16, 16, 16, 3),
    Shape(32, 1, 100, 64, 64, 3, groups=64),
    Shape(32, 2, 14, 64, 64, 3, groups=64),
    Shape(32, 2, 14, 32, 64, 3, groups=32),
    Shape(8, 2, 28, 32, 32, 7, groups=32),
    Shape(8, 2, 28, 32, 32, 13, groups=32),
    Shape(4, 2, 56, 32, 32, 31, groups=32, padding="SAME"),
    Shape(16, 2, 14, 64, 64, 3, groups=8),
    Shape(16, 2, 14, 64, 64, 3, groups=2),
)

TRANSPOSED = (
    Shape(16, 2, 16, 64, 32, 2, 2),
    Shape(16, 2, 32, 32, 16, 2, 2),
    Shape(8, 1, 50, 64, 64, 4, 2),
    Shape(32, 2, 7, 64, 32, 4, 2),
    Shape(32, 2, 14, 32, 1, 4, 2),
    Shape(16, 2, 14, 64, 64, 3),
    Shape(16, 2, 7, 32, 32, 4, 2, 4),
    Shape(2, 3, 8, 16, 16, 4, 2),
)


def conv_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each of the convolutions."""
    for shape in CONVOLUTIONS:
        f = functools.partial(F.conv, strides=shape.stride, groups=shape.groups, padding=shape.padding)
        yield beside(str(shape), ROUNDS, f, functools.partial(f, method="lax"), shape.arguments(), how)


FILTERED = (
    *(Shape(8, 2, side, channels, channels, 3, padding="SAME") for side, channels in ((64, 16), (32, 32))),
    *(
        Shape(batch, 2, side, channels, channels, 3, padding="SAME")
        for batch in (64, 8)
        for side, channels in ((32, 64), (16, 128), (8, 256), (4, 512))
    ),
)


def by_form() -> dict[str, Function]:
    """The convolution by each of these forms alone."""
    window = Window((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    forms = {"F(4×4)": WINOGRAD_4, "F(2×2)": WINOGRAD_2, "patches": PATCHES, "lax": LAX}
    return {name: functools.partial(planned, Plan.everywhere(window, 1, form)) for name, form in forms.items()}


def filtered_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each form of Winograd's and some convolutions that it fits, beside patches."""
    for shape in FILTERED:
        f = by_form()
        for name in ("F(4×4)", "F(2×2)"):
            yield beside(f"{name}: {shape}", ROUNDS, f[name], f["patches"], shape.arguments(), how)


FEWER = (
    *(Shape(32, 2, 32, channels, 16, 3, padding="SAME") for channels in (1, 3, 4, 6, 8)),
    Shape(256, 2, 28, 1, 32, 3),
    Shape(64, 2, 32, 3, 64, 3, padding="SAME"),
    Shape(32, 2, 14, 6, 16, 5),
    Shape(16, 2, 32, 3, 32, 7, padding="SAME"),
    Shape(8, 2, 64, 16, 16, 3, padding="SAME"),
    Shape(8, 2, 64, 32, 16, 3, padding="SAME"),
    Shape(32, 2, 16, 16, 16, 5, padding="SAME"),
    Shape(16, 2, 16, 64, 64, 5, padding="SAME"),
    Shape(16, 3, 16, 1, 16, 3, padding="SAME"),
    Shape(16, 3, 8, 16, 32, 3, padding="SAME"),
    Shape(8, 3, 16, 4, 8, 3, padding="SAME"),
)


def fewer_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each of the forms that make fewer patches and each of some convolutions, beside patches."""
    for shape in FEWER:
        low = (shape.window - 1) // 2 if shape.padding == "SAME" else 0
        ones = (1,) * shape.rank
        window = Window((shape.window,) * shape.rank, ones, ((low, low),) * shape.rank, ones)
        forms = {"lines": LINES, "pairs": PAIRS, "patches": PATCHES}
        f = {name: functools.partial(planned, Plan.everywhere(window, 1, form)) for name, form in forms.items()}
        for name in ("lines", "pairs"):
            yield beside(f"{name}: {shape}", ROUNDS, f[name], f["patches"], shape.arguments(), how)


ALONE: dict[str, Round] = {"forward": forward}


def alone_rows(timer: Timer, how: Measuring) -> Iterator[list[str]]:
    """One row for each form and some convolutions, forward alone, beside lax; and for transposed convolutions."""
    for shape in FILTERED:
        f = by_form()
        for name in ("F(4×4)", "F(2×2)", "patches"):
            yield beside(f"{name}: {shape}", ALONE, f[name], f["lax"], shape.arguments(), how, timer)
    for shape in TRANSPOSED:
        f, plain = stamped(shape), stamped(shape, "lax")
        yield beside(f"transposed: {shape}", ALONE, f, plain, shape.arguments(), how, timer)


def stamped(shape: Shape, method: Method = "auto") -> Function:
    """A transposed convolution to the input's sizes times the stride."""
    return functools.partial(F.conv_transpose, strides=shape.stride, padding="SAME", groups=shape.groups, method=method)


def conv_transpose_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each of the transposed convolutions."""
    for shape in TRANSPOSED:
        yield beside(str(shape), ROUNDS, stamped(shape), stamped(shape, "lax"), shape.arguments(), how)


MEMBERS = {"input and kernel": (0, 0), "kernel": (None, 0)}


def mapped_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each of some convolutions of 8 members at once, with inputs and kernels of their own, or kernels."""
    for shape in (Shape(8, 2, 16, 16, 32, 3), Shape(8, 2, 28, 1, 32, 3), Shape(8, 2, 16, 64, 64, 3)):
        for name, axes in MEMBERS.items():
            x, kernel = shape.arguments()
            arguments = [jnp.stack([a] * 8) if axis == 0 else a for a, axis in zip((x, kernel), axes, strict=True)]
            fast, plain = (jax.vmap(functools.partial(F.conv, method=m), axes) for m in ("auto", "lax"))
            yield beside(f"8 × ({shape}), each its {name}", ROUNDS, fast, plain, tuple(arguments), how)


TABLES = {
    "conv_mapped": (ROUNDS, mapped_rows),
    "conv": (ROUNDS, conv_rows),
    "conv_patches": (ROUNDS, fewer_rows),
    "conv_filtered": (ROUNDS, filtered_rows),
    "conv_transpose": (ROUNDS, conv_transpose_rows),
    "conv_forward": (ALONE, functools.partial(alone_rows, milliseconds)),
    "conv_by_itself": (ALONE, functools.partial(alone_rows, milliseconds_by_itself)),
}
