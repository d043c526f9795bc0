"""Augmentation inside of the program: pure functions ``(batch, key) -> batch``, for ``fit(…, transform=…)``.

Each example is drawn for alone, from a key that is a function of (seed, epoch, step). Where there is no key (None), in
evaluation, a batch comes back as it is. Put several together with :func:`chain`::

    transform = augment.chain(augment.crop(4), augment.flip(), augment.cutout(8))

Images are ``batch["x"]: (batch, height, width, channels)``. Two augmentations made alike are one and the same, so that
a compiled program finds its twin.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core import bad_value, child_key
from jaxdl.core.checks import floating, is_int, positive, positive_int

Augment = Callable[[Any, jax.Array | None], Any]


def _on_images(call: str, change: Callable[[jax.Array, jax.Array], jax.Array]) -> Augment:
    """An augmentation of a function ``(image, key) -> image``, mapped over the examples."""

    def augment(batch: Any, key: jax.Array | None) -> Any:
        x = batch["x"]
        if len(x.shape) != 4:
            raise bad_value(f"augment.{call}", "images must have shape (batch, height, width, channels)", x)
        if key is None:
            return batch
        return {**batch, "x": jax.vmap(change)(x, jax.random.split(child_key(key, call), x.shape[0]))}

    return augment


@functools.cache
def chain(*augmentations: Augment) -> Augment:
    """One augmentation after the other, each with a key of its own.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> transform = chain(crop(2), flip())
        >>> transform({"x": jnp.ones((4, 8, 8, 3))}, jax.random.key(0))["x"].shape
        (4, 8, 8, 3)
    """

    def augment(batch: Any, key: jax.Array | None) -> Any:
        for index, one in enumerate(augmentations):
            batch = one(batch, child_key(key, str(index)))
        return batch

    return augment


@functools.cache
def crop(padding: int) -> Augment:
    """A crop of the image's own size, at random, from the image with ``padding`` zeros at each side.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = crop(1)({"x": jnp.ones((1, 3, 3, 1))}, jax.random.key(0))["x"]
        >>> y.shape, float(y.sum()) in (4.0, 6.0, 9.0)
        ((1, 3, 3, 1), True)

    **References** Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks,
    2012.
    """
    positive_int("augment.crop", "padding", padding)

    def change(image: jax.Array, key: jax.Array) -> jax.Array:
        padded = jnp.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
        return lax.dynamic_slice(padded, (row, column, 0), image.shape)

    return _on_images("crop", change)


@functools.cache
def flip(*, vertical: bool = False, rate: float = 0.5) -> Augment:
    """Mirror a share ``rate`` of the images, left to right, or upside down where ``vertical``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> flip(rate=1.0)({"x": jnp.arange(3.0).reshape(1, 1, 3, 1)}, jax.random.key(0))["x"].ravel().tolist()
        [2.0, 1.0, 0.0]
    """
    share = _share("flip", "rate", rate)

    def change(image: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.uniform(key) < share, jnp.flip(image, 0 if vertical else 1), image)

    return _on_images("flip", change)


@functools.cache
def cutout(size: int, *, fill: float = 0.0) -> Augment:
    """Cover a square of ``size`` pixels, anywhere in the image, with ``fill``; at the border it may stick out.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = cutout(2)({"x": jnp.ones((1, 8, 8, 1))}, jax.random.key(0))["x"]
        >>> int((y == 0).sum()) in (1, 2, 4)
        True

    **References** DeVries and Taylor, Improved regularization of convolutional neural networks with cutout, 2017.
    """
    positive_int("augment.cutout", "size", size)

    def change(image: jax.Array, key: jax.Array) -> jax.Array:
        height, width, _ = image.shape
        middle = jax.random.randint(key, (2,), 0, jnp.array([height, width]))
        rows = jnp.arange(height) - (middle[0] - size // 2)
        columns = jnp.arange(width) - (middle[1] - size // 2)
        covered = ((rows >= 0) & (rows < size))[:, None] & ((columns >= 0) & (columns < size))[None, :]
        return jnp.where(covered[..., None], jnp.asarray(fill, image.dtype), image)

    return _on_images("cutout", change)


@functools.cache
def colour(*, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> Augment:
    """Change an image's brightness, contrast and saturation, each by a factor from ``U(1 − a, 1 + a)``.

    ``x ← b x``, then ``x ← m + c (x − m)`` with the image's mean grey m, then ``x ← g + s (x − g)`` with each pixel's
    grey g (0.299 red + 0.587 green + 0.114 blue; saturation leaves images that are not RGB as they are). Values are not
    clipped: normalise after it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = colour(brightness=0.5)({"x": jnp.ones((1, 2, 2, 3))}, jax.random.key(0))["x"]
        >>> 0.5 <= float(y.min()) == float(y.max()) <= 1.5
        True
    """
    strengths = [_share("colour", name, value) for name, value in locals().items()]

    def change(image: jax.Array, key: jax.Array) -> jax.Array:
        floating("augment.colour", "images", image)
        spread = jnp.array(strengths, image.dtype)
        bright, sharp, vivid = jax.random.uniform(key, (3,), image.dtype, 1 - spread, 1 + spread)
        image = image * bright
        mean = _grey(image).mean()
        image = mean + sharp * (image - mean)
        return _grey(image) + vivid * (image - _grey(image))

    return _on_images("colour", change)


def _grey(image: jax.Array) -> jax.Array:
    if image.shape[-1] != 3:
        return image
    return image @ jnp.array([[0.299], [0.587], [0.114]], image.dtype)


@functools.cache
def mixup(classes: int, alpha: float = 0.2) -> Augment:
    """Mix each example with another of the batch, inputs and labels alike: ``λ a + (1 − λ) b``, λ from
    ``Beta(alpha, alpha)``.

    The labels become soft, ``(batch, classes)``, which :func:`jaxdl.losses.cross_entropy` takes. An example whose
    ``batch["weight"]`` is 0 is mixed into no other.

    **Args** ``classes``: how many there are; ``alpha``: positive; ``batch["y"]``: integers ``(batch,)``, one-hot or
    soft labels.

    **Raises** ``ValueError`` for another ``alpha``, or labels that are neither.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> batch = {"x": jnp.eye(2), "y": jnp.array([0, 1])}
        >>> mixed = mixup(2)(batch, jax.random.key(0))
        >>> bool(jnp.allclose(mixed["x"], mixed["y"])), mixed["y"].sum(-1).tolist()
        (True, [1.0, 1.0])

    **References** Zhang, Cisse, Dauphin and Lopez-Paz, mixup: beyond empirical risk minimization, 2017.
    """
    positive_int("augment.mixup", "classes", classes)
    positive("augment.mixup", "alpha", alpha)

    def augment(batch: Any, key: jax.Array | None) -> Any:
        x, y = batch["x"], batch["y"]
        floating("augment.mixup", "x", x)
        counts = y.ndim == 1 and not jnp.issubdtype(y.dtype, jnp.floating)
        soft = jax.nn.one_hot(y, classes, dtype=x.dtype) if counts else y
        if soft.ndim < 2 or soft.shape[-1] != classes:
            raise bad_value("augment.mixup", f"labels must be integers or of shape (batch, {classes})", y)
        if key is None:
            return {**batch, "y": soft.astype(x.dtype)}
        share_key, order_key = jax.random.split(child_key(key, "mixup"))
        count = x.shape[0]
        share = jax.random.beta(share_key, alpha, alpha, (count,), x.dtype)
        other = jax.random.permutation(order_key, count)
        if (weight := batch.get("weight")) is not None:
            other = jnp.where(_any_real(weight)[other], other, jnp.arange(count))

        def mix(leaf: jax.Array) -> jax.Array:
            part = share.reshape(count, *[1] * (leaf.ndim - 1))
            return part * leaf + (1 - part) * leaf[other]

        return {**batch, "x": mix(x), "y": mix(soft.astype(x.dtype))}

    return augment


def _any_real(weight: jax.Array) -> jax.Array:
    """Which examples have any weight at all."""
    return jnp.any(weight != 0, axis=tuple(range(1, weight.ndim)))


def _share(call: str, name: str, value: float) -> float:
    if isinstance(value, bool) or not (is_int(value) or isinstance(value, float)) or not 0 <= value <= 1:
        raise bad_value(f"augment.{call}", f"{name} must be a number from 0 to 1", value)
    return float(value)
