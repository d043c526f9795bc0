"""The geometry of windows that slide over spatial axes: what convolution and pooling share."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core.checks import is_int, per_axis
from jaxdl.core.errors import bad_value

Method = Literal["auto", "lax"]
Sizes = int | Sequence[int]
PaddingWord = Literal["SAME", "VALID", "CAUSAL"]
Padding = PaddingWord | int | Sequence[tuple[int, int]]

# Slices are unrolled, and the time to compile grows with their number: no form may be made of more. 11 × 11, the widest
# window of the known networks, is within.
SLICES_LIMIT = 128

# A tap copies as many neighbouring numbers as there are channels. Below so many, longer runs are worth a second copy.
FEW_CHANNELS = 8


@dataclass(frozen=True)
class Window:
    """Sizes, strides, padding (low, high) and dilation of a window, one of each for every spatial axis."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def reach(self) -> tuple[int, ...]:
        """How many input positions a window spans along each axis."""
        return tuple((size - 1) * dilation + 1 for size, dilation in zip(self.size, self.dilation, strict=True))

    def positions(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """How many windows fit along each axis of a padded input of these sizes."""
        padded = [n + low + high for n, (low, high) in zip(spatial, self.padding, strict=True)]
        return tuple(
            max((n - reach) // stride + 1, 0) for n, reach, stride in zip(padded, self.reach, self.strides, strict=True)
        )

    def over(self, axes: slice) -> "Window":
        """The window along some of the axes."""
        return Window(self.size[axes], self.strides[axes], self.padding[axes], self.dilation[axes])

    @property
    def unpadded(self) -> "Window":
        """The same over an input that is padded already."""
        return dataclasses.replace(self, padding=((0, 0),) * self.rank)

    def pad(self, x: jax.Array, fill: float = 0.0) -> jax.Array:
        """Pad the spatial axes of ``x: (batch, *spatial, channels)``; a negative amount cuts off."""
        if not any(low or high for low, high in self.padding):
            return x
        config = [(0, 0, 0), *((low, high, 0) for low, high in self.padding), (0, 0, 0)]
        return lax.pad(x, jnp.asarray(fill, x.dtype), config)

    def taps(self, padded: jax.Array) -> Iterator[jax.Array]:
        """For each element of the window, row by row: the inputs that it meets, ``(batch, *positions, channels)``."""
        spatial = padded.shape[1:-1]
        count = self.unpadded.positions(spatial)
        if not all(count):  # nothing to slice, and no place to begin
            nothing = jnp.zeros((padded.shape[0], *count, padded.shape[-1]), padded.dtype)
            yield from [nothing] * math.prod(self.size)
            return
        for tap in itertools.product(*map(range, self.size)):
            start = [t * d for t, d in zip(tap, self.dilation, strict=True)]
            stop = [s + (n - 1) * stride + 1 for s, n, stride in zip(start, count, self.strides, strict=True)]
            yield lax.slice(
                padded,
                (0, *start, 0),
                (padded.shape[0], *stop, padded.shape[-1]),
                (1, *self.strides, 1),
            )

    @property
    def apart(self) -> bool:
        """Whether the windows lie side by side over the input as it is: each input is in at most one of them."""
        return self.strides == self.size and not any(map(any, self.padding)) and max(self.dilation) == 1

    def within(self, padded: jax.Array) -> jax.Array:
        """What :meth:`taps` gives, in one array ``(batch, positions, size, positions, size, …, channels)``.

        Made of no slices, whatever the size of the window: a reshape where windows are apart, else a gather.
        """
        count = self.unpadded.positions(padded.shape[1:-1])
        if self.apart:
            covered = [n * size for n, size in zip(count, self.size, strict=True)]
            x = padded[(slice(None), *map(slice, covered))]
            pairs = itertools.chain.from_iterable(zip(count, self.size, strict=True))
            return x.reshape(padded.shape[0], *pairs, padded.shape[-1])
        axes = zip(count, self.size, self.strides, self.dilation, strict=True)
        for axis, (n, size, stride, spread) in reversed(list(enumerate(axes, start=1))):
            at = np.arange(n)[:, None] * stride + np.arange(size) * spread
            met = jnp.take(padded, at.ravel(), axis=axis, mode="clip")
            padded = met.reshape(*met.shape[:axis], n, size, *met.shape[axis + 1 :])
        return padded

    def patches(self, x: jax.Array) -> jax.Array:
        """The inputs that the window meets at each position, ``(batch, *positions, taps · channels)``, tap by tap."""
        if math.prod(self.size) <= SLICES_LIMIT and not self.apart:
            few = x.shape[-1] < FEW_CHANNELS and all(self.positions(x.shape[1:-1]))
            return self._by_axis(self.pad(x)) if few else jnp.concatenate(list(self.taps(self.pad(x))), axis=-1)
        met = self.within(self.pad(x))
        at, inside = range(1, 2 * self.rank, 2), range(2, 2 * self.rank + 1, 2)
        met = met.transpose(0, *at, *inside, met.ndim - 1)
        return met.reshape(*met.shape[: self.rank + 1], math.prod(self.size) * x.shape[-1])

    def _by_axis(self, padded: jax.Array) -> jax.Array:
        """Patches made along one axis after the other, the last one first, so that later copies are of longer runs."""
        count = self.unpadded.positions(padded.shape[1:-1])
        axes = zip(count, self.size, self.strides, self.dilation, strict=True)
        for axis, (n, size, stride, spread) in reversed(list(enumerate(axes, start=1))):
            span = (n - 1) * stride + 1
            met = [lax.slice_in_dim(padded, t * spread, t * spread + span, stride, axis) for t in range(size)]
            padded = jnp.concatenate(met, axis=-1)
        return padded

    def place(self, taps: Sequence[jax.Array], spatial: Sequence[int]) -> jax.Array:
        """The transpose of :meth:`taps` of the padded input: each input is the sum of its places.

        The sum is of wide numbers where those of the taps are narrow. With strides, the inputs that lie a stride apart
        (a phase) meet the same taps: each phase is a sum of its own, and none is spread out with gaps. Where phases are
        more than taps, most are zero, and the taps are spread out instead.
        """
        wide = jnp.promote_types(taps[0].dtype, jnp.float32)
        if math.prod(self.strides) > len(taps):
            places = map(self._spread, taps, np.ndindex(*self.size), itertools.repeat(spatial))
            return functools.reduce(jnp.add, places).astype(taps[0].dtype)
        batch, *count, channels = taps[0].shape
        blocks = [(reach - 1) // stride + n for reach, stride, n in zip(self.reach, self.strides, count, strict=True)]
        nothing = jnp.zeros((batch, *blocks, channels), wide)
        phases: dict[tuple[int, ...], jax.Array] = {}
        for tap, met in zip(itertools.product(*map(range, self.size)), taps, strict=True):
            at = [divmod(t * d, stride) for t, d, stride in zip(tap, self.dilation, self.strides, strict=True)]
            config = [(first, n - first - m, 0) for (first, _), n, m in zip(at, blocks, count, strict=True)]
            met = lax.pad(met.astype(wide), jnp.zeros((), wide), [(0, 0, 0), *config, (0, 0, 0)])
            phase = tuple(rest for _, rest in at)
            phases[phase] = phases[phase] + met if phase in phases else met
        x = jnp.stack([phases.get(phase, nothing) for phase in itertools.product(*map(range, self.strides))])
        x = x.reshape(*self.strides, *nothing.shape)
        pairs = itertools.chain.from_iterable((self.rank + 1 + axis, axis) for axis in range(self.rank))
        x = x.transpose(self.rank, *pairs, x.ndim - 1)
        padded = [n * stride for n, stride in zip(blocks, self.strides, strict=True)]
        sizes = zip(padded, spatial, self.padding, strict=True)
        config = [(-low, size - n + low, 0) for n, size, (low, _) in sizes]
        x = lax.pad(x.reshape(batch, *padded, channels), jnp.zeros((), wide), [(0, 0, 0), *config, (0, 0, 0)])
        return x.astype(taps[0].dtype)

    def _spread(self, met: jax.Array, tap: tuple[int, ...], spatial: Sequence[int]) -> jax.Array:
        """What one tap met, wide, in its places among zeros."""
        wide = jnp.promote_types(met.dtype, jnp.float32)
        starts = [t * d - low for t, d, (low, _) in zip(tap, self.dilation, self.padding, strict=True)]
        axes = zip(starts, spatial, met.shape[1:-1], self.strides, strict=True)
        config = [(start, n - start - max((m - 1) * stride + 1, 0), stride - 1) for start, n, m, stride in axes]
        return lax.pad(met.astype(wide), jnp.zeros((), wide), [(0, 0, 0), *config, (0, 0, 0)])

    def fold(self, patches: jax.Array, spatial: Sequence[int]) -> jax.Array:
        """The transpose of :meth:`patches`."""
        count = math.prod(self.size)
        if count <= SLICES_LIMIT:
            return self.place(jnp.split(patches, count, axis=-1), spatial)
        wide = jnp.promote_types(patches.dtype, jnp.float32)
        spec = jax.ShapeDtypeStruct((patches.shape[0], *spatial, patches.shape[-1] // count), wide)
        return jax.linear_transpose(self.patches, spec)(patches.astype(wide))[0].astype(patches.dtype)


def make_window(
    call: str,
    spatial: Sequence[int],
    size: Sizes,
    strides: Sizes,
    padding: Padding,
    dilation: Sizes = 1,
) -> Window:
    """The window that these arguments mean for an input of these sizes, or an error that names the wrong one."""
    rank = len(spatial)
    sizes = per_axis(call, "kernel_size" if "conv" in call else "window", size, rank)
    steps = per_axis(call, "strides", strides, rank)
    spread = per_axis(call, "dilation", dilation, rank)
    reach = tuple((k - 1) * d + 1 for k, d in zip(sizes, spread, strict=True))
    window = Window(sizes, steps, pad_amounts(call, padding, spatial, reach, steps), spread)
    if any(n and not count for n, count in zip(spatial, window.positions(spatial), strict=True)):
        raise bad_value(
            call,
            f"the window, which spans {reach} positions, must fit into the input",
            f"spatial sizes {tuple(spatial)} with padding {window.padding}",
            'Did you mean padding="SAME"?',
        )
    return window


def pad_amounts(
    call: str, padding: Padding, spatial: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """The (low, high) padding of each spatial axis.

    ``"SAME"`` gives ``ceil(n / stride)`` positions, the odd element at the high end, as in Keras and Flax;
    ``"CAUSAL"`` as many, all padding at the low end, so that no position sees a later one.
    """
    rank = len(spatial)
    word = padding if isinstance(padding, str) else ""  # an array compares element by element
    if word == "VALID":
        return ((0, 0),) * rank
    if word == "CAUSAL":
        if rank != 1:
            needs = 'padding="CAUSAL" is for one spatial axis, as in Keras and Flax'
            raise bad_value(call, needs, f"{rank} spatial axes", "Did you mean pairs (low, high) for each axis?")
        return ((reach[0] - 1, 0),)
    if word == "SAME":
        totals = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(spatial, reach, strides, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    given: Any = padding
    if is_int(given) and given >= 0:
        return ((int(given), int(given)),) * rank
    if _pairs(given, rank):
        return tuple((int(low), int(high)) for low, high in given)
    needs = f'padding must be "VALID", "SAME", "CAUSAL", an int of 0 or more, or {rank} pairs (low, high) of such ints'
    hint = f'Did you mean padding="{word.upper()}"?' if word.upper() in get_args(PaddingWord) else ""
    raise bad_value(call, needs, repr(padding), hint)


def _pairs(padding: object, rank: int) -> bool:
    """Whether it is ``rank`` pairs of ints of 0 or more."""
    return (
        isinstance(padding, Sequence)
        and len(padding) == rank
        and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in padding)
        and all(is_int(n) and n >= 0 for pair in padding for n in pair)
    )


def check_spatial(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is shaped ``(batch, *spatial, channels)`` with at least one spatial axis."""
    if len(x.shape) >= 3:
        return
    hint = _image_hint(x.shape)
    needs = "input must have a channel axis last and 1 or more spatial axes (batch, …, channels)"
    raise bad_value(call, needs, x, hint)


def _image_hint(shape: tuple[int, ...]) -> str:
    """A reshape that would make a batch of square images of flat pixels, where the size allows one."""
    if len(shape) == 2:
        for channels in (1, 3):
            side = math.isqrt(shape[1] // channels)
            if side > 1 and side * side * channels == shape[1]:
                return f"Did you mean x.reshape({shape[0]}, {side}, {side}, {channels})?"
    return "Did you mean x[..., None]?" if len(shape) == 2 else ""
