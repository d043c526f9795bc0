"""Which forms a convolution takes."""

import math

import jax
import jax.numpy as jnp

from jaxdl.functional.fewer_patches import LINES, PAIRS, lines_numbers, pairs_numbers
from jaxdl.functional.forms import LAX, LAX_BATCHED, LEADING_TAPS, PATCHES, Form, Plan, fits, patches_bytes
from jaxdl.functional.shifted import SCANNED, SHIFTED
from jaxdl.functional.window import FEW_CHANNELS, SLICES_LIMIT, Window
from jaxdl.functional.winograd import F2, F4, WINOGRAD_2, WINOGRAD_4, WINOGRAD_4_BACKWARD, tiles, tiles_bytes

# The rule for the choice of form. `python -m benchmarks.lowerings --only conv` prints a loop's round for each beside
# lax: there, on CPU, both gradients are many times slower through lax.conv than as products of patches or as sums of
# shifted inputs; the forward pass alone is as fast through lax in one and two dimensions, and slower in three. Forms of
# slices are for windows of not too many elements; where windows lie apart, patches are a reshape. XLA's convolution
# stays where there is nothing to slice, and where the patches of one image would not fit.


def conv_plan(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> Plan:
    """The forms for arrays of these shapes and dtypes."""
    elsewhere = LAX if window.rank <= 3 else LEADING_TAPS  # cuDNN convolves at most three axes
    plain = Plan(window, groups, LAX, LAX, elsewhere)
    if not all((*x.shape[1:-1], *window.positions(x.shape[1:-1]))):
        return plain
    each_alone, many = groups > 1 and kernel.shape[-2] == 1, math.prod(window.size) > SLICES_LIMIT
    if each_alone and math.prod(window.size[1:]) <= SLICES_LIMIT:
        form = SCANNED if many else SHIFTED
        return Plan(window, groups, form, form, elsewhere)
    filtering = _filtering(window, groups, x, kernel)
    if filtering is not None:
        alone = filtering if min(kernel.shape[-2:]) >= FEWEST_CHANNELS_ALONE else LAX_BATCHED
        return Plan(window, groups, alone, filtering, elsewhere)
    if (many and (each_alone or not window.apart)) or not fits(2 * patches_bytes(window, x)):
        return plain
    trained = _patching(window, groups, x, kernel)
    lax_is_slow = trained is PAIRS and any(map(any, window.padding)) and kernel.shape[-1] <= MOST_FEATURES_ALONE
    alone = LAX_BATCHED if window.rank < 3 and groups == 1 and not lax_is_slow else trained
    return Plan(window, groups, alone, trained, elsewhere)


# Which patches: those that are the fewest numbers, `python -m benchmarks.lowerings --only conv_patches`. Two neighbours
# that share a patch make more of the product, which weighs from a few channels on. By itself, XLA's own convolution is
# the slower one for few channels of padded images, unless features are many.
MOST_FEATURES_ALONE = 32
PAIRS_OVERHEAD = 4 / 3


def _patching(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> Form:
    """Of the forms that multiply patches, the one for these."""
    channels, features = kernel.shape[-2:]
    if groups > 1 or window.rank == 1 or x.dtype.itemsize < 4:  # narrow numbers are not to be added in parts
        return PATCHES
    numbers: dict[Form, float] = {PATCHES: math.prod(window.size) * channels}
    if window.strides[0] == 1:
        numbers[LINES] = lines_numbers(window, channels, features) * x.shape[1] / window.positions(x.shape[1:-1])[0]
    if channels < FEW_CHANNELS and window.strides[-1] == window.dilation[-1] == 1:
        numbers[PAIRS] = PAIRS_OVERHEAD * pairs_numbers(window, channels)
    return min(numbers, key=lambda form: numbers[form])


# Where Winograd's forms win, `python -m benchmarks.lowerings --only conv_filtered`: where channels are many, and tiles
# enough for the products with transformed kernels. F(4×4) transforms a kernel to four times its size, which weighs most
# where channels are 512. With few channels the products are small beside the transforms: below 32 the gradients alone
# are filtered, and XLA's own convolution is the fastest way forward; below 16 · 64 pairs of channels lines are faster.
# A convolution that is asked by itself, in no loop, is as fast through lax (`--only conv_by_itself`), but for the
# largest kernels.
FEWEST_CHANNELS = 16
FEWEST_PAIRS_OF_CHANNELS = 16 * 64
FEWEST_CHANNELS_FORWARD = 32
FEWEST_CHANNELS_ALONE = 256
FEWEST_TILES = 128
HEAVY_CHANNELS = 512
FEWEST_HEAVY_TILES = 256


def _filtering(window: Window, groups: int, x: jax.Array, kernel: jax.Array) -> Form | None:
    """Winograd's form, where one fits and pays."""
    same = window.size == (3, 3) and window.strides == window.dilation == (1, 1) and groups == 1
    fewest, most = sorted(kernel.shape[-2:])
    exact = x.dtype != jnp.float32 or jax.default_matmul_precision.value not in (None, "default", "fastest")
    if not same or exact or fewest < FEWEST_CHANNELS or fewest * most < FEWEST_PAIRS_OF_CHANNELS:
        return None
    by_4, by_2 = (x.shape[0] * math.prod(tiles(m, window.positions(x.shape[1:-1]))) for m in (4, 2))
    if by_4 >= max(most, FEWEST_TILES) and fits(2 * tiles_bytes(F4, window, x, kernel.shape[-1])):
        return WINOGRAD_4 if fewest >= FEWEST_CHANNELS_FORWARD else WINOGRAD_4_BACKWARD
    heavy = most >= HEAVY_CHANNELS and by_2 >= FEWEST_HEAVY_TILES
    return WINOGRAD_2 if heavy and fits(2 * tiles_bytes(F2, window, x, kernel.shape[-1])) else None
