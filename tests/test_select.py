"""Leaves by path, and what optimizers make of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.core import flat_paths, select
from jaxdl.train import create_state, path_mask, trace_count

KEY = jax.random.key(0)
TREE = {"encoder": {"conv": {"kernel": 1, "bias": 2}, "conv_1": {"kernel": 3}}, "kernel": 4, "head": {"bias": 5}}


@pytest.mark.parametrize(
    ("where", "paths"),
    [
        ("*", ["encoder/conv/bias", "encoder/conv/kernel", "encoder/conv_1/kernel", "head/bias", "kernel"]),
        ("*/kernel", ["encoder/conv/kernel", "encoder/conv_1/kernel", "kernel"]),
        ("kernel", ["kernel"]),
        ("encoder/*", ["encoder/conv/bias", "encoder/conv/kernel", "encoder/conv_1/kernel"]),
        ("encoder/conv/*", ["encoder/conv/bias", "encoder/conv/kernel"]),
        (["head/*", "encoder/conv_?/kernel"], ["encoder/conv_1/kernel", "head/bias"]),
    ],
    ids=str,
)
def test_globs_match_whole_paths(where, paths):
    chosen = select("test", TREE, where)
    assert jax.tree.structure(chosen) == jax.tree.structure(TREE)
    assert [path for path, yes in flat_paths(chosen).items() if yes] == paths


def test_a_pattern_that_matches_nothing_lists_what_is_near():
    with pytest.raises(ValueError, match=r"test: where='encodr/\*' must match a path; got paths such as encoder/conv"):
        select("test", TREE, "encodr/*")
    with pytest.raises(ValueError, match=r"where='\*/scale' must match a path; got paths such as "):
        select("test", TREE, ["*/kernel", "*/scale"])
    with pytest.raises(ValueError, match=r"where='encoder/conv' must match.*\. Did you mean 'encoder/conv/\*'\?"):
        select("test", TREE, "encoder/conv")
    with pytest.raises(ValueError, match="got paths such as none"):
        select("test", {}, "*")
    for where in (3, (), ["*", 3], None):
        with pytest.raises(
            TypeError, match=r"test: where must be a glob of paths, such as '\*/kernel', or several; got"
        ):
            select("test", TREE, where)


MODEL = dl.sequential(("encoder", dl.sequential(L.dense(4), jnp.tanh)), ("head", L.dense(2)))
X = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
DATA = {"x": X, "y": X[:, :2] ** 2}


def train(optimizer, epochs=3, **arguments):
    loss = dl.losses.mean_squared_error
    arguments |= dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=8, progress=False)
    return dl.fit(MODEL, DATA, **arguments)[0]


def test_what_is_frozen_stands_still_under_decay_and_thaws():
    start, _ = MODEL.init(KEY, X)
    adam = optax.adamw(0.05, weight_decay=0.3)
    frozen = dl.freeze(adam, "encoder/*")
    fresh = create_state(MODEL, frozen, X)
    trained = train(frozen)
    jax.tree.map(np.testing.assert_array_equal, trained.params["encoder"], fresh.params["encoder"])
    assert (trained.params["head"]["kernel"] != fresh.params["head"]["kernel"]).all()
    # The optimizer keeps nothing for what is frozen: two moments, each of the head's ten numbers.
    assert sum(leaf.size for leaf in jax.tree.leaves(trained.opt_state)) == 2 * 10 + 1
    # A second fit of a partition made alike compiles nothing.
    traces = trace_count()
    again = train(dl.freeze(adam, "encoder/*"))
    assert trace_count() == traces
    jax.tree.map(np.testing.assert_array_equal, again.params, trained.params)
    thawed = train(adam, train_state=trained.replace(opt_state=adam.init(trained.params)))
    assert all((a != b).any() for a, b in zip(*map(jax.tree.leaves, (thawed.params, trained.params)), strict=True))
    assert jax.tree.structure(start) == jax.tree.structure(trained.params)


def test_groups_have_their_own_optimizers():
    params, _ = MODEL.init(KEY, X)
    gradient = jax.tree.map(jnp.ones_like, params)
    groups = {("encoder/*", "head/bias"): optax.sgd(0.5), "*/bias": optax.sgd(7.0)}
    with pytest.raises(
        ValueError, match=r"where=\('\*/bias',\) must match a path that no earlier group has; got only enc"
    ):
        dl.by_path(groups, optax.sgd(0.1)).init(params)
    optimizer = dl.by_path({"encoder/*": optax.sgd(0.5), "*/bias": optax.sgd(7.0)}, optax.sgd(0.1))
    updates, _ = jax.jit(optimizer.update)(gradient, optimizer.init(params), params)
    rates = {"encoder/dense/bias": -0.5, "encoder/dense/kernel": -0.5, "head/bias": -7, "head/kernel": -0.1}
    assert {path: round(float(leaf.mean()), 5) for path, leaf in flat_paths(updates).items()} == rates


def test_partitions_are_equal_when_made_alike():
    sgd, adam = optax.sgd(0.1), optax.adam(0.1)
    assert dl.freeze(sgd, "a/*") == dl.freeze(sgd, ["a/*"])
    assert hash(dl.freeze(sgd, "a/*")) == hash(dl.freeze(sgd, "a/*"))
    assert dl.freeze(sgd, "a/*") != dl.freeze(sgd, "b/*")
    assert dl.freeze(sgd, "a/*") != dl.freeze(adam, "a/*")
    assert dl.by_path({"a": sgd}, adam) == dl.by_path({"a": sgd}, adam) != dl.by_path({"a": adam}, sgd)
    assert path_mask("a") == path_mask(["a"]) != path_mask("b")


@pytest.mark.slow
def test_partitions_nest_clip_and_mask_what_they_see():
    params, _ = MODEL.init(KEY, X)
    zero = jax.tree.map(jnp.zeros_like, params)
    decaying = optax.adamw(1.0, weight_decay=0.5, mask=path_mask(["*/kernel", "encoder/dense/bias"]))
    nested = dl.freeze(dl.by_path({"*/bias": optax.sgd(1.0)}, decaying), "encoder/*")
    updates, _ = nested.update(zero, nested.init(params), params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates["encoder"]))
    np.testing.assert_allclose(updates["head"]["kernel"], -0.5 * params["head"]["kernel"], rtol=1e-6)
    ones = jax.tree.map(jnp.ones_like, params)
    clipped = dl.freeze(optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0)), "encoder/*")
    updates, _ = clipped.update(ones, clipped.init(params), params)
    np.testing.assert_allclose(optax.tree.norm(updates), 1.0, rtol=1e-6)
    outer = optax.chain(dl.freeze(optax.sgd(1.0), "encoder/*"), optax.scale(2.0))
    updates, _ = outer.update(ones, outer.init(params), params)
    np.testing.assert_allclose(updates["head"]["bias"], -2.0)


@pytest.mark.slow
def test_only_the_adapters_of_a_lora_train():
    model = dl.lora(MODEL, 1)
    optimizer = dl.freeze(optax.adamw(0.05, weight_decay=0.3), "base/*")
    step = dl.make_step(dl.supervised(model, dl.losses.mean_squared_error), optimizer)
    before = create_state(model, optimizer, X)
    after = before
    for _ in range(2):
        after, _ = jax.jit(step)(after, DATA)
    jax.tree.map(np.testing.assert_array_equal, after.params["base"], before.params["base"])
    assert all(
        (a != b).any() for a, b in zip(*(jax.tree.leaves(s.params["lora"]) for s in (before, after)), strict=True)
    )


def test_errors_of_partitions():
    params, _ = MODEL.init(KEY, X)
    with pytest.raises(
        ValueError, match=r"freeze: where='encoder/conv/\*' must match a path; got paths such as encoder/d"
    ):
        dl.freeze(optax.sgd(0.1), "encoder/conv/*").init(params)
    with pytest.raises(ValueError, match="path_mask: where='kernels' must match a path; got paths such as"):
        optax.adamw(0.1, mask=path_mask("kernels")).init(params)
    with pytest.raises(TypeError, match="freeze: where must be a glob of paths"):
        dl.freeze(optax.sgd(0.1), None)
    for groups in ({}, "*/bias"):
        with pytest.raises(TypeError, match="by_path: groups must be .glob: optimizer."):
            dl.by_path(groups, optax.sgd(0.1))
    with pytest.raises(TypeError, match=r"an optimizer must be from optax \(init, update\); got 0.1"):
        dl.by_path({"*/bias": 0.1}, optax.sgd(0.1))
    with pytest.raises(TypeError, match="an optimizer must be from optax"):
        dl.freeze(0.1, "*")
