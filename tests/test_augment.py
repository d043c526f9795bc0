"""Augmentation: pure in its key, absent without one, and what each changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl.data import augment

KEY = jax.random.key(7)
IMAGES = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (24, 8, 9, 3)), jnp.float32)
BATCH = {"x": IMAGES, "y": jnp.arange(24) % 3}
ALL = [
    augment.crop(2),
    augment.flip(),
    augment.cutout(3),
    augment.colour(brightness=0.2, contrast=0.3, saturation=0.4),
    augment.chain(augment.crop(1), augment.flip()),
]


@pytest.mark.slow
@pytest.mark.parametrize("transform", ALL, ids=["crop", "flip", "cutout", "colour", "chain"])
def test_pure_in_its_key_and_absent_without_one(transform):
    apply = jax.jit(transform)
    one, two, other = apply(BATCH, KEY), apply(BATCH, KEY), apply(BATCH, jax.random.key(8))
    assert one["x"].shape == IMAGES.shape
    assert one["x"].dtype == IMAGES.dtype
    np.testing.assert_array_equal(one["x"], two["x"])
    assert (one["x"] != other["x"]).any()
    # Each example is drawn for alone.
    alike = apply({**BATCH, "x": jnp.broadcast_to(IMAGES[:1], IMAGES.shape)}, KEY)["x"]
    assert len(np.unique(np.asarray(alike).reshape(24, -1), axis=0)) > 1
    np.testing.assert_array_equal(one["y"], BATCH["y"])
    assert transform(BATCH, None)["x"] is IMAGES
    assert transform({**BATCH, "x": IMAGES[:0]}, KEY)["x"].shape == (0, 8, 9, 3)


def test_made_alike_is_the_same():
    assert augment.crop(2) is augment.crop(2)
    assert augment.chain(augment.crop(2), augment.flip()) is augment.chain(augment.crop(2), augment.flip())
    assert augment.flip() is not augment.flip(vertical=True)


def test_a_crop_is_a_window_of_the_padded_image():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    for image, found in zip(padded, augment.crop(2)(BATCH, KEY)["x"], strict=True):
        windows = [image[r : r + 8, c : c + 9] for r in range(5) for c in range(5)]
        assert any((window == found).all() for window in windows)


@pytest.mark.slow
def test_a_flip_mirrors_its_share():
    assert (augment.flip(rate=1.0)(BATCH, KEY)["x"] == IMAGES[:, :, ::-1]).all()
    assert (augment.flip(vertical=True, rate=1.0)(BATCH, KEY)["x"] == IMAGES[:, ::-1]).all()
    assert (augment.flip(rate=0.0)(BATCH, KEY)["x"] == IMAGES).all()
    many = {"x": jnp.arange(2.0).reshape(1, 1, 2, 1) * jnp.ones((1000, 1, 1, 1))}
    assert abs(float(augment.flip(rate=0.25)(many, KEY)["x"][:, 0, 0, 0].mean()) - 0.25) < 0.05


def test_cutout_covers_one_square_and_no_more():
    many = {"x": jnp.ones((200, 8, 8, 2))}
    covered = np.asarray(augment.cutout(3, fill=0.5)(many, KEY)["x"] == 0.5)
    assert (covered[..., 0] == covered[..., 1]).all()
    counts = covered[..., 0].sum((1, 2))
    assert counts.max() == 9
    assert set(counts.tolist()) <= {4, 6, 9}  # whole, over one side, over a corner
    assert covered.any(0).all()


def test_colour_follows_its_formula():
    grey = augment.colour(brightness=0.5)({"x": jnp.ones((50, 2, 2, 3))}, KEY)["x"]
    factors = np.asarray(grey[:, 0, 0, 0])
    assert 0.5 <= factors.min() < 0.7 < 1.3 < factors.max() <= 1.5
    sharp = augment.colour(contrast=0.9)(BATCH, KEY)["x"]
    luma = np.asarray([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose((sharp @ luma).mean((1, 2)), (IMAGES @ luma).mean((1, 2)), rtol=1e-5)
    vivid = augment.colour(saturation=0.9)(BATCH, KEY)["x"]
    np.testing.assert_allclose(vivid @ luma, IMAGES @ luma, rtol=1e-5)
    one_channel = {"x": IMAGES[..., :1]}
    np.testing.assert_allclose(augment.colour(saturation=0.9)(one_channel, KEY)["x"], one_channel["x"], rtol=1e-6)


@pytest.mark.slow
def test_mixup_mixes_inputs_and_labels_alike():
    eye = {"x": jnp.eye(3)[jnp.arange(60) % 3], "y": jnp.arange(60) % 3}
    mixed = augment.mixup(3, alpha=1.0)(eye, KEY)
    np.testing.assert_allclose(mixed["x"], mixed["y"], rtol=1e-6)
    np.testing.assert_allclose(mixed["y"].sum(-1), 1, rtol=1e-6)
    assert ((mixed["y"] > 0.01) & (mixed["y"] < 0.99)).sum() > 20
    same = augment.mixup(3)(eye, None)
    np.testing.assert_array_equal(same["y"], jax.nn.one_hot(eye["y"], 3))
    assert same["x"] is eye["x"]
    soft = augment.mixup(3)({**eye, "y": same["y"]}, KEY)
    np.testing.assert_allclose(soft["x"], soft["y"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [jnp.arange(60) % 3, jnp.ones((60, 2)) * (jnp.arange(60) % 3)[:, None]])
def test_mixup_mixes_no_masked_example_into_another(weight):
    poison = jnp.where(jnp.arange(60) % 3 == 0, jnp.nan, 1.0)[:, None] * jnp.eye(3)[jnp.arange(60) % 3]
    batch = {"x": poison, "y": jnp.arange(60) % 3, "weight": weight}
    mixed = augment.mixup(3, alpha=1.0)(batch, KEY)
    real = np.arange(60) % 3 > 0
    np.testing.assert_allclose(mixed["x"][real], mixed["y"][real], rtol=1e-6)
    np.testing.assert_array_equal(mixed["y"][real][:, 0], 0)
    assert ((mixed["y"] > 0.01) & (mixed["y"] < 0.99)).sum() > 5


def test_it_runs_inside_of_fit():
    data = {"x": IMAGES, "y": BATCH["y"]}
    model = dl.sequential(dl.layers.flatten(), dl.layers.dense(3))
    _, history = dl.fit(
        model,
        data,
        loss=dl.losses.cross_entropy,
        optimizer=optax.sgd(0.1),
        epochs=2,
        batch_size=3,
        transform=augment.chain(augment.flip(), augment.mixup(3)),
        validation=data,
        progress=False,
    )
    assert np.isfinite(history["validation_loss"]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: augment.crop(0), r"augment\.crop: padding must be a positive int; got 0"),
        (lambda: augment.cutout(1.5), r"augment\.cutout: size must be a positive int; got 1\.5"),
        (lambda: augment.flip(rate=2), r"augment\.flip: rate must be a number from 0 to 1; got 2"),
        (lambda: augment.colour(contrast=-1), r"augment\.colour: contrast must be a number from 0 to 1; got -1"),
        (lambda: augment.mixup(3, 0), r"augment\.mixup: alpha must be a positive number; got 0"),
        (lambda: augment.mixup(3, "a"), r"augment\.mixup: alpha must be a positive number; got a"),
        (
            lambda: augment.mixup(3)({"x": jnp.ones((3, 3)), "y": jnp.array([0.1, 0.2, 0.3])}, KEY),
            r"augment\.mixup: labels must be integers or of shape \(batch, 3\); got float32\[3\]",
        ),
        (
            lambda: augment.flip()({"x": jnp.ones((2, 3))}, KEY),
            r"augment\.flip: images must have shape \(batch, height, width, channels\); got float32\[2,3\]",
        ),
        (
            lambda: augment.mixup(3)({"x": jnp.ones((2, 3)), "y": jnp.ones((2, 4))}, KEY),
            r"augment\.mixup: labels must be integers or of shape \(batch, 3\); got float32\[2,4\]",
        ),
        (
            lambda: augment.colour()({"x": jnp.ones((2, 3, 3, 3), jnp.uint8)}, KEY),
            r"augment\.colour: images must be a floating array; got uint8",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
