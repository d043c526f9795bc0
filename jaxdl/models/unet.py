"""The network that gives each pixel a class."""

import jax

from jaxdl import layers as L
from jaxdl.combine import branch, sequential
from jaxdl.core import Layer
from jaxdl.models.blocks import Activation, conv_block, many, same


def unet(
    classes: int,
    *,
    features: tuple[int, ...] = (64, 128, 256, 512, 1024),
    batch_norm: bool = False,
    activation: Activation = jax.nn.relu,
) -> Layer:
    """U-Net: down by halves, up again, and at each level what the way down had stands beside what comes up.

    A level is two convolutions 3×3 with activations (``down``); a max pool 2×2, the level below, a transposed
    convolution 2×2 with stride 2 (``around``), concatenated to what went down; and two convolutions of both (``up``).
    The last level is its two convolutions alone. A convolution 1×1 gives the classes. Convolutions are padded
    (``"SAME"``), so that the output has the size of the input; the paper's are not, and lose a margin.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *spatial, classes)``, logits of each pixel; each spatial size
    a multiple of ``2 ** (len(features) - 1)``. **Params** ``level``, in it ``down``, ``beside/around/level``, ``up``,
    and ``head``: 31,030,658 in all for the published widths, grey pixels and two classes. **State** with
    ``batch_norm``, its running statistics.

    **Args** ``features``: of each level; ``batch_norm``: between each convolution 3×3 (then without bias) and its
    activation.

    **Raises** ``ValueError`` for spatial sizes that are no such multiple.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> model = unet(2, features=(4, 8))
        >>> params, state = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 8, 8, 1)))
        >>> jax.eval_shape(partial(model.apply, train=False), params, state, jnp.ones((3, 12, 10, 1)))[0].shape
        (3, 12, 10, 2)

    **References** Ronneberger, Fischer and Brox, U-Net: convolutional networks for biomedical image segmentation, 2015.
    """
    widths = many("unet", "features", features)

    def twice(width: int) -> Layer:
        block = conv_block(width, 3, padding="SAME", activation=activation, batch_norm=batch_norm)
        return sequential(*block, *block)

    def level(width: int, *below: int) -> Layer:
        if not below:
            return sequential(("down", twice(width)))
        around = sequential(L.max_pool(2), ("level", level(*below)), L.conv_transpose(width, 2, strides=2))
        beside = branch(same, ("around", around), merge="concat")
        return sequential(("down", twice(width)), ("beside", beside), ("up", twice(width)))

    return sequential(("level", level(*widths)), ("head", L.conv(classes, 1)))
