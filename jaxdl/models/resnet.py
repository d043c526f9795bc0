"""Residual networks."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import layers as L
from jaxdl.combine.residual import residual
from jaxdl.combine.sequential import sequential
from jaxdl.core import Layer, bad_value
from jaxdl.core.checks import is_int
from jaxdl.layers.initializers import zeros

_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}

# The outgoing connections are counted, as He et al. found right for ReLU on the way back.
_he_normal = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def resnet(depth: int, classes: int = 1000, *, width: int = 64) -> Layer:
    """The residual network of ImageNet, of 18, 34 or 50 layers.

    A convolution 7×7 and a max pool 3×3, each with stride 2; four stages of residual blocks, of which all but the first
    begin with stride 2 and twice the features; the mean over positions; dense. Blocks of 18 and 34 are two convolutions
    3×3, those of 50 a bottleneck 1×1, 3×3, 1×1 that ends with four times the features. Batch norm follows each
    convolution, ReLU follows that, and the last ReLU of a block stands after the sum. Where shapes differ, the shortcut
    is a convolution 1×1 with batch norm (option B). The bottleneck has its stride in the 3×3 convolution, as
    torchvision has it (v1.5), the paper in the 1×1 before. The last norm of each block begins with scale 0, the block
    as its shortcut.

    **Shapes** ``x: (batch, height, width, channels) -> (batch, classes)``, logits. **Params** ``stem``, ``stage_1`` to
    ``stage_4``, in each ``block_1``, …, then ``head``: 11,689,512 (18), 21,797,672 (34) and 25,557,032 (50) in all for
    colour images and 1,000 classes. **State** the running statistics.

    **Args** ``width``: the features of the first stage.

    **Raises** ``ValueError`` for another depth.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
        >>> params, state = jax.eval_shape(resnet(50).init, jax.random.key(0), image)
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        25557032

    **References** He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2015; Goyal and others,
    Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017 (the scale of 0).
    """
    if not is_int(depth) or depth not in _STAGES:
        hint = "Did you mean resnet_cifar(…)?" if is_int(depth) and depth > 2 and depth % 6 == 2 else ""
        raise bad_value("resnet", "depth must be 18, 34 or 50", repr(depth), hint)
    block, expansion = (_bottleneck, 4) if depth == 50 else (_basic, 1)
    stages = []
    before = width
    for index, blocks in enumerate(_STAGES[depth]):
        features = width * 2**index
        strides = 1 if index == 0 else 2
        shortcut = None
        if strides > 1 or before != features * expansion:
            shortcut = sequential(*_conv(features * expansion, 1, strides=strides))
        stages.append((f"stage_{index + 1}", _stage(block, features, blocks, strides, shortcut)))
        before = features * expansion
    stem = sequential(*_conv(width, 7, strides=2), jax.nn.relu, L.max_pool(3, strides=2, padding=1))
    return sequential(("stem", stem), *stages, L.global_avg_pool(), ("head", L.dense(classes)))


def resnet_cifar(depth: int, classes: int = 10, *, width: int = 16) -> Layer:
    """The residual network of CIFAR, of 6n + 2 layers: 20, 32, 44, 56 or 110 in the paper.

    A convolution 3×3; three stages of n residual blocks of two convolutions 3×3, of 16, 32 and 64 features, the second
    and third stage with stride 2; the mean over positions; dense. Batch norm and ReLU as in :func:`resnet`. Shortcuts
    have no parameters, as in the paper (option A): where shapes differ, every second position, and channels of zeros
    behind those that are there.

    **Shapes** ``x: (batch, height, width, channels) -> (batch, classes)``, logits. **Params** ``stem``, ``stage_1`` to
    ``stage_3``, in each ``block_1``, …, then ``head``: 269,722 (20), 464,154 (32) and 853,018 (56) in all for colour
    images and ten classes. **State** the running statistics.

    **Args** ``width``: the features of the first stage.

    **Raises** ``ValueError`` for a depth that is not 6n + 2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
        >>> params, state = jax.eval_shape(resnet_cifar(20).init, jax.random.key(0), image)
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        269722

    **References** He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2015, section 4.2.
    """
    if not is_int(depth) or depth < 8 or depth % 6 != 2:
        hint = "Did you mean resnet(…)?" if is_int(depth) and depth in _STAGES else ""
        raise bad_value("resnet_cifar", "depth must be 6n + 2, such as 20, 32 or 56", repr(depth), hint)
    blocks = (depth - 2) // 6
    stages = []
    for index in range(3):
        features = width * 2**index
        shortcut = partial(_thinned, features=features) if index else None
        stages.append((f"stage_{index + 1}", _stage(_basic, features, blocks, 2 if index else 1, shortcut)))
    stem = sequential(*_conv(width, 3), jax.nn.relu)
    return sequential(("stem", stem), *stages, L.global_avg_pool(), ("head", L.dense(classes)))


def _stage(block: Any, features: int, blocks: int, strides: int, shortcut: Any) -> Layer:
    """Residual blocks, of which the first has that stride and that shortcut."""
    children: list[Any] = []
    for index in range(blocks):
        first = index == 0
        layers = block(features, strides if first else 1)
        children += [(f"block_{index + 1}", residual(*layers, shortcut=shortcut if first else None)), jax.nn.relu]
    return sequential(*children)


def _basic(features: int, strides: int) -> list[Any]:
    return [*_conv(features, 3, strides=strides), jax.nn.relu, *_conv(features, 3, scale_init=zeros)]


def _bottleneck(features: int, strides: int) -> list[Any]:
    middle = _conv(features, 3, strides=strides)
    return [*_conv(features, 1), jax.nn.relu, *middle, jax.nn.relu, *_conv(4 * features, 1, scale_init=zeros)]


def _conv(features: int, kernel_size: int, *, strides: int = 1, **norm: Any) -> list[Any]:
    """A convolution, padded by half its kernel on both sides, and batch norm in place of its bias."""
    half = kernel_size // 2
    conv = L.conv(features, kernel_size, strides=strides, padding=half, use_bias=False, kernel_init=_he_normal)
    return [conv, L.batch_norm(**norm)]


def _thinned(x: jax.Array, *, features: int) -> jax.Array:
    """Every second position, with channels of zeros behind those that are there."""
    return jnp.pad(x[:, ::2, ::2], [(0, 0)] * 3 + [(0, features - x.shape[-1])])
