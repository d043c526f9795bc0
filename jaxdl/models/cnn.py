"""Convolutional networks that classify images, from the first one on."""

import jax
import jax.numpy as jnp

from jaxdl import layers as L
from jaxdl.combine.sequential import sequential
from jaxdl.core import Layer
from jaxdl.core.checks import positive_int
from jaxdl.functional.window import Padding
from jaxdl.models.blocks import Activation, conv_block, dropped, many


def course_cnn(classes: int, *, filters: int = 32, hidden: int = 128) -> Layer:
    """The first convolutional network of a course: one convolution, one pool, two dense layers.

    Convolution 3×3 without padding, ReLU, max pool 2×2, flatten, dense, ReLU, dense.

    **Shapes** ``x: (batch, height, width, channels) -> (batch, classes)``, logits. **Params** ``conv``, ``dense``,
    ``dense_1``: 693,962 in all for 28×28 grey pixels and ten classes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = course_cnn(10)
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        693962

    **References** LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    return sequential(
        L.conv(filters, 3),
        jax.nn.relu,
        L.max_pool(2),
        L.flatten(),
        L.dense(hidden),
        jax.nn.relu,
        L.dense(classes),
    )


def lenet(classes: int) -> Layer:
    """LeNet-5 in the form that is common today: tanh, mean pools, every map connected, and a plain dense output.

    Convolution of 6 filters 5×5 (``"SAME"``, so that 28×28 pixels are enough), pool, 16 filters 5×5 without padding,
    pool, dense 120, dense 84, dense ``classes``. The paper's pools have a trained factor and bias, its second
    convolution leaves connections out, and its output is a distance to fixed patterns.

    **Shapes** ``x: (batch, height, width, channels) -> (batch, classes)``, logits. **Params** ``conv``, ``conv_1``,
    ``dense``, ``dense_1``, ``dense_2``: 61,706 in all for 28×28 grey pixels and ten classes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = jax.eval_shape(lenet(10).init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        61706

    **References** LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    return sequential(
        L.conv(6, 5, padding="SAME"),
        jnp.tanh,
        L.avg_pool(2),
        L.conv(16, 5),
        jnp.tanh,
        L.avg_pool(2),
        L.flatten(),
        L.dense(120),
        jnp.tanh,
        L.dense(84),
        jnp.tanh,
        L.dense(classes),
    )


def cnn(
    classes: int,
    *,
    filters: tuple[int, ...] = (32, 64),
    depth: int = 1,
    padding: Padding = "VALID",
    hidden: tuple[int, ...] = (),
    dropout: float = 0.5,
    batch_norm: bool = False,
    activation: Activation = jax.nn.relu,
) -> Layer:
    """Blocks of convolutions 3×3 and a max pool 2×2, then dropout and dense layers.

    Each of ``filters`` is a block: ``depth`` times convolution and activation, then the pool. With ``batch_norm`` a
    norm stands between convolution (which then has no bias) and activation, and likewise in the hidden dense layers.
    ``cnn(10, filters=(32, 64, 128), depth=2, padding="SAME", batch_norm=True)`` is a stronger one.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, classes)``, logits. **Params** ``conv``, ``conv_1``, …,
    ``dense``, …: by default 34,826 in all for 28×28 grey pixels and ten classes.
    **State** with ``batch_norm``, its running statistics.

    **Args** ``depth``: convolutions in a block; ``padding``: theirs; ``hidden``: units of dense layers before the last;
    ``dropout``: before each dense layer.

    **Raises** ``ValueError`` for images that a block leaves nothing of.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = jax.eval_shape(cnn(10).init, jax.random.key(0), jnp.ones((1, 28, 28, 1)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        34826

    **References** Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2014;
    Ioffe and Szegedy, Batch normalization, 2015.
    """
    sizes = many("cnn", "filters", filters)
    units = many("cnn", "hidden", hidden, least=0)
    positive_int("cnn", "depth", depth)
    children = []
    for size in sizes:
        block = conv_block(size, 3, padding=padding, activation=activation, batch_norm=batch_norm)
        children += [*block * depth, L.max_pool(2)]
    children.append(L.flatten())
    norm = [L.batch_norm()] if batch_norm else []
    for size in units:
        children += [*dropped(dropout), L.dense(size, use_bias=not batch_norm), *norm, activation]
    return sequential(*children, *dropped(dropout), L.dense(classes))
