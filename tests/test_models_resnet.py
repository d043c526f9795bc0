"""Residual networks beside NumPy in float64: what they answer, and the running statistics that they leave."""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loops import assert_all_close, assert_close, conv_loop, max_pool_loop

from jaxdl import models as M

KEY = jax.random.key(0)


class Built(NamedTuple):
    """A residual network in NumPy, ``(params, state, x, train) -> (y, new state)``: how it is built."""

    blocks: tuple  # of each stage
    strided: int = 0  # which convolution of a stage's first block has the stride
    photographs: bool = True  # stem of 7×7 with stride 2 and a max pool, or of 3×3 alone
    norm_first: bool = True  # and then ReLU
    sum_first: bool = True  # and then the last ReLU of a block
    zeros_last: bool = True  # where a shortcut has more channels than its input
    kept: float = 0.9  # of the running statistics
    unbiased: bool = False  # the running variance

    def __call__(self, p, s, x, train):
        y, stem = self.unit(p["stem"], s["stem"], x, train, strides=2 if self.photographs else 1)
        if self.photographs:
            y, _ = max_pool_loop(y, (3, 3), (2, 2), 1)
        new = {"stem": stem}
        for index, count in enumerate(self.blocks):
            stage = f"stage_{index + 1}"
            new[stage] = {}
            for block in range(count):
                name, strides = f"block_{block + 1}", 2 if index > 0 and block == 0 else 1
                y, new[stage][name] = self.block(p[stage][name], s[stage][name], y, train, strides)
        return y.mean((1, 2)) @ p["head"]["kernel"] + p["head"]["bias"], new

    def block(self, p, s, x, train, strides):
        count = sum(name.startswith("conv") for name in p)
        y, new = x, {}
        for index in range(count):
            more = {"strides": strides if index == self.strided else 1, "active": index < count - 1}
            y, found = self.unit(p, s, y, train, index, **more)
            new |= found
        if "shortcut" in p:
            x, new["shortcut"] = self.unit(p["shortcut"], s["shortcut"], x, train, strides=strides, active=False)
        elif strides > 1:
            more = y.shape[-1] - x.shape[-1]
            x = np.pad(x[:, ::strides, ::strides], [(0, 0)] * 3 + [(0, more) if self.zeros_last else (more, 0)])
        return (relu(x + y) if self.sum_first else x + relu(y)), new

    def unit(self, p, s, x, train, index=0, *, strides=1, active=True):
        """A convolution padded by half its kernel, its norm, and ReLU where it is ``active``."""
        end = f"_{index}" if index else ""
        kernel, scale, norm = p[f"conv{end}"]["kernel"], p[f"batch_norm{end}"], s[f"batch_norm{end}"]
        y, _ = conv_loop(x, kernel, np.zeros(kernel.shape[-1]), strides, len(kernel) // 2)
        if active and not self.norm_first:
            y = relu(y)
        mean, var = (y.mean((0, 1, 2)), y.var((0, 1, 2))) if train else (norm["mean"], norm["var"])
        if train:
            rows = y[..., 0].size
            batch = {"mean": mean, "var": var * rows / (rows - 1) if self.unbiased else var}
            norm = {name: self.kept * norm[name] + (1 - self.kept) * batch[name] for name in norm}
        y = (y - mean) / np.sqrt(var + 1e-5) * scale["scale"] + scale["bias"]
        return relu(y) if active and self.norm_first else y, {f"batch_norm{end}": norm}


def relu(x):
    return np.maximum(x, 0)


NETWORKS = {
    "resnet-18": (M.resnet(18, 5, width=2), Built((2, 2, 2, 2)), (3, 35, 40, 3)),
    "resnet-50": (M.resnet(50, 5, width=2), Built((3, 4, 6, 3), strided=1), (3, 35, 40, 3)),
    "resnet-8": (M.resnet_cifar(8), Built((1, 1, 1), photographs=False), (2, 9, 8, 3)),
}


@cache
def drawn(name):
    """Parameters, running statistics and images, none of which is 0 or 1."""
    model, _, shape = NETWORKS[name]
    trees = jax.eval_shape(model.init, KEY, jax.ShapeDtypeStruct(shape, jnp.float32))
    random = np.random.default_rng(1)

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):
            return random.uniform(0.5, 1.5, leaf.shape)
        return random.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))

    return *jax.tree.map_with_path(draw, trees), random.normal(size=shape)


@cache
def by_numpy(name, train, **otherwise):
    return NETWORKS[name][1]._replace(**otherwise)(*drawn(name), train)


@pytest.mark.parametrize("train", [False, True], ids=["running", "batch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_resnet_equals_numpy_by_either_statistics(x64, name, train):
    params, state, x = drawn(name)
    y, new = jax.jit(partial(NETWORKS[name][0].apply, train=train))(params, state, x)
    expected, statistics = by_numpy(name, train)
    assert y.dtype == np.float64
    assert_close(y, expected)
    assert jax.tree.structure(new) == jax.tree.structure(statistics)
    assert_all_close(new, statistics)
    if not train:
        jax.tree.map(np.testing.assert_array_equal, new, state)


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True], ids=["running", "batch"])
@pytest.mark.parametrize(
    ("name", "otherwise"),
    [
        ("resnet-18", {"norm_first": False}),
        ("resnet-50", {"norm_first": False}),
        ("resnet-8", {"norm_first": False}),
        ("resnet-18", {"sum_first": False}),
        ("resnet-50", {"strided": 0}),
        ("resnet-18", {"strided": 1}),
        ("resnet-8", {"zeros_last": False}),
    ],
    ids=str,
)
def test_these_numbers_are_not_those_of_a_resnet_built_otherwise(name, otherwise, train):
    y, _ = by_numpy(name, train)
    other, _ = by_numpy(name, train, **otherwise)
    assert np.abs(other - y).max() > 1e-2 * np.abs(y).max()


@pytest.mark.parametrize("otherwise", [{"kept": 0.99}, {"unbiased": True}], ids=str)
def test_these_statistics_are_not_those_of_another_norm(otherwise):
    (_, new), (_, other) = (by_numpy("resnet-18", True, **words) for words in ({}, otherwise))
    one, two = (found["stage_4"]["block_2"]["batch_norm"]["var"] for found in (new, other))
    assert np.abs(one - two).max() > 1e-3 * np.abs(one).max()
