"""Combinators against the loops that they stand for: values, gradients, state, decoding."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.core import build, child_key, flat_paths, layer, specs
from jaxdl.core.layer import Decoding
from jaxdl.inspect import summary

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


def weighted(y):
    return sum(jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape))) for leaf in jax.tree.leaves(y))


def outcome(layer, params, state, x, train=True):
    """Output, new state and the gradients of parameters and input, by one program."""

    @jax.jit
    def both(params, x):
        def objective(params, x):
            y, new = layer.apply(params, state, x, train=train, key=jax.random.key(7))
            return weighted(y), (y, new)

        return jax.value_and_grad(objective, (0, 1), has_aux=True)(params, x)

    (_, (y, new)), gradients = both(params, x)
    return y, new, gradients


def close(found, expected, tolerance=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), found, expected)


def member(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@layer
def running_sum():
    """A layer that decodes with a cache of its own: the sum of all positions up to each."""

    def init(key, x):
        return {"gain": 1 + jax.random.uniform(key, ())}, {}

    def apply(params, state, x, *, train, key=None):
        return params["gain"] * jnp.cumsum(x, axis=1), state

    def prefill(params, state, x, *, length):
        return apply(params, state, x, train=False)[0], {"sum": x.sum(1, keepdims=True)}

    def decode(params, cache, x):
        y = params["gain"] * (cache["sum"] + jnp.cumsum(x, axis=1))
        return y, {"sum": cache["sum"] + x.sum(1, keepdims=True)}

    return init, apply, Decoding(prefill, decode)


def assert_decodes(layer, shape):
    x = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)

    @jax.jit
    def pieces(x):
        params, state = layer.init(KEY, x)
        y, cache = layer.prefill(params, state, x[:, :2], length=shape[1])
        found = [y]
        for at in (2, 3):
            y, cache = layer.decode(params, cache, x[:, at : at + 1])
            found.append(y)
        y, _ = layer.decode(params, cache, x[:, 4:])
        together = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-2), *found, y)
        return together, layer.apply(params, state, x, train=False)[0]

    close(*pieces(x))


# Side by side


def test_parallel_and_branch_equal_their_layers():
    left, right = L.dense(2), dl.sequential(L.dense(2), jnp.tanh)
    for model, inputs, join in (
        (dl.parallel(left, right), (X, X[:, :2]), lambda y: y),
        (dl.parallel(left, right, merge="add"), (X, X[:, :2]), lambda y: y[0] + y[1]),
        (dl.branch(left, right), X, lambda y: y[0] + y[1]),
        (dl.branch(left, right, merge="concat"), X, partial(jnp.concatenate, axis=1)),
        (dl.branch(left, right, merge="tuple"), X, lambda y: y),
    ):
        params, state = model.init(KEY, inputs)
        x, z = inputs if isinstance(inputs, tuple) else (inputs, inputs)
        first = left.apply(params["dense"], {}, x, train=False)[0]
        second = right.apply(params["sequential"], {}, z, train=False)[0]
        close(model.apply(params, state, inputs, train=False)[0], join((first, second)), 1e-6)


@pytest.mark.slow
def test_branch_merges_ragged_batches_and_decodes():
    batch = dl.Ragged(jnp.ones((2, 5, 3)), jnp.array([5, 2]))
    for merge, width in (("add", 3), ("concat", 6)):
        model = dl.branch(L.dense(3), jnp.sin, merge=merge)
        y, _ = model.apply(*model.init(KEY, batch), batch, train=False)
        assert y.x.shape == (2, 5, width)
        assert y.lengths is batch.lengths
    assert_decodes(dl.branch(running_sum(), L.dense(3), merge="concat"), (2, 6, 3))
    assert_decodes(
        dl.sequential(dl.branch(running_sum(), jnp.sin, merge="tuple"), dl.parallel(L.dense(2), running_sum())),
        (2, 6, 3),
    )


@pytest.mark.parametrize("merge", ["add", "concat"])
def test_ragged_parts_that_are_merged_have_equal_lengths(merge):
    model = dl.parallel(jnp.sin, jnp.cos, merge=merge)
    one, same, other = (dl.Ragged(jnp.ones((2, 5, 3)), jnp.array([5, length])) for length in (2, 2, 4))
    run = partial(model.apply, {}, {}, train=False)
    assert run((one, same))[0].lengths is one.lengths
    needs = r"the ragged outputs of its layers must have the same lengths; got \[5, 2\] and \[5, 4\]"
    with pytest.raises(ValueError, match=rf"parallel\(.*\): {needs}"):
        run((one, other))
    assert jax.jit(run)((one, other))[0].lengths.tolist() == [5, 2]  # where nobody sees them


def test_errors_of_parallel_and_branch():
    with pytest.raises(
        TypeError,
        match=r"parallel: input must be a tuple of 2, one element for each layer; got float32"
        r"\[4,3\]. Did you mean branch",
    ):
        dl.sequential(dl.parallel(L.dense(1), L.dense(1))).init(KEY, X)
    with pytest.raises(TypeError, match=r"input must be a tuple of 1, one element for each layer; got \(float32"):
        dl.parallel(L.dense(1)).init(KEY, (X, X))
    with pytest.raises(ValueError, match=r"branch\(\): there must be at least one layer; got none"):
        dl.branch()
    with pytest.raises(ValueError, match="merge must be one of 'add', 'concat', 'tuple'; got 'mul'"):
        dl.branch(L.dense(1), merge="mul")
    with pytest.raises(ValueError, match="parallel.*merge must be one of 'add', 'concat', 'tuple'; got 'sum'"):
        dl.parallel(L.dense(1), merge="sum")
    with pytest.raises(
        ValueError, match=r"parallel.*: the outputs of its layers must have one shape, to be added; got fl"
    ):
        dl.parallel(L.dense(1), L.dense(2), merge="add").init(KEY, (X, X))
    with pytest.raises(
        ValueError, match=r"outputs of its layers must have one shape, to be added; got float32\[4,1\], f"
    ):
        dl.branch(L.dense(1), L.dense(2)).init(KEY, X)
    with pytest.raises(ValueError, match=r"must have one shape up to the last axis, to be joined"):
        dl.branch(L.dense(3), ("time", lambda x: x[None]), merge="concat").init(KEY, X)
    with pytest.raises(ValueError, match="must have one shape, to be added; got Ragged"):
        dl.branch(L.dense(3), dl.remat(unragged())).init(KEY, dl.Ragged(X[None], jnp.array([2])))
    with pytest.raises(TypeError, match="input must be a tuple of 2") as caught:
        dl.sequential(("towers", dl.parallel(L.dense(1), L.dense(1)))).init(KEY, X)
    assert '  in sequential "towers", input float32[4,3]' in caught.value.__notes__


@pytest.mark.slow
def test_an_encoder_decoder_reads_its_source_once():
    model = dl.encoder_decoder(dl.sequential(L.dense(3), L.batch_norm()), L.multi_head_attention(1))
    target, source = jnp.ones((2, 5, 4)), jnp.sin(jnp.arange(12.0)).reshape(2, 3, 2)
    params, state = model.init(KEY, (target, source))
    y, new = model.apply(params, state, (target, source), train=True)
    memory, statistics = dl.sequential(L.dense(3), L.batch_norm()).apply(
        params["encoder"], state["encoder"], source, train=True
    )
    close(y, L.multi_head_attention(1).apply(params["decoder"], {}, (target, memory), train=True)[0], 1e-6)
    close(new, {"encoder": statistics}, 1e-6)
    full, _ = model.apply(params, state, (target, source), train=False)
    first, cache = model.prefill(params, state, (target[:, :2], source), length=5)
    # The pieces that follow are of the target alone.
    second, cache = model.decode(params, cache, target[:, 2:])
    close(jnp.concatenate([first, second], 1), full, 1e-6)
    for wrong in (target, (target,)):
        with pytest.raises(TypeError, match=r"encoder_decoder.*: input must be a tuple \(target, source\)"):
            model.apply(params, state, wrong, train=False)


@layer
def unragged():
    return (lambda key, x: ({}, {})), (lambda params, state, x, *, train, key=None: (x.x, state))


# Stacked


def block():
    return dl.residual(L.dense(3), L.batch_norm(), jnp.tanh, L.dropout(0.3))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("recompute", [False, True])
def test_repeat_equals_the_unrolled_stack(train, recompute):
    stack = dl.repeat(block(), 3, remat=recompute)
    unrolled = dl.sequential(*((str(i), block()) for i in range(3)))
    params, state = stack.init(KEY, X)
    alone, alone_state = unrolled.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, params, stacked(alone.values()))
    assert not np.array_equal(params["dense"]["kernel"][0], params["dense"]["kernel"][1])
    y, new, (gradient, dx) = outcome(stack, params, state, X, train)
    z, new_alone, (gradient_alone, dz) = outcome(unrolled, alone, alone_state, X, train)
    close((y, new, gradient, dx), (z, stacked(new_alone.values()), stacked(gradient_alone.values()), dz))


def test_what_repeat_compiles_does_not_grow_with_n():
    looks = 0

    def counted(x):
        nonlocal looks
        looks += 1
        return x

    sizes = []
    for n in (2, 40):
        stack = dl.repeat(dl.sequential(L.dense(3), counted), n)
        looks = 0
        params, state = stack.init(KEY, X)
        assert looks == 1
        program = jax.make_jaxpr(partial(stack.apply, train=True))(params, state, X)
        sizes.append(str(program).count("\n"))
        inner = jax.make_jaxpr(partial(stack.init, x=X))(KEY)
        sizes.append(str(inner).count("\n"))
    assert sizes[:2] == sizes[2:]


@pytest.mark.slow
def test_repeat_carries_ragged_batches_tuples_and_decodes():
    batch = dl.Ragged(jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 3)), jnp.float32), jnp.array([5, 2]))
    one = dl.sequential(L.dense(3), L.batch_norm())
    stack = dl.repeat(one, 2)

    @jax.jit
    def both(batch):
        params, state = stack.init(KEY, batch)
        loop, news = batch, []
        for i in range(2):
            loop, new = one.apply(member(params, i), member(state, i), loop, train=True)
            news.append(new)
        return stack.apply(params, state, batch, train=True), (loop, stacked(news))

    close(*both(batch))
    pair = dl.repeat(dl.parallel(L.dense(3), L.dense(2)), 2)
    x = (X, X[:, :2])
    assert specs(pair.apply(*pair.init(KEY, x), x, train=False)[0]) == specs(x)
    assert_decodes(dl.repeat(dl.residual(running_sum(), L.dense(3)), 3), (2, 6, 3))


@pytest.mark.slow
def test_repeat_counts_in_the_summary_and_sums_what_its_members_add_to_the_loss():
    text = summary(dl.sequential(("stack", dl.repeat(dl.residual(L.dense(3), L.batch_norm()), 5))), X)
    assert "stack/dense" in text
    assert f"{5 * 12}" in text
    assert "90 parameters" in text
    stack = dl.repeat(dl.mixture_of_experts(L.dense(3), 2), 3)
    params, state = stack.init(KEY, X)
    loss_fn = dl.supervised(stack, lambda y, target: 0 * y[:, 0])
    total, (new, _) = loss_fn(params, state, {"x": X, "y": X}, key=None, train=True)
    _, trained = stack.apply(params, state, X, train=True)
    assert trained["aux_loss"].shape == (3,)
    np.testing.assert_allclose(total.mean(), trained["aux_loss"].sum(), rtol=1e-6)
    assert not new["aux_loss"].any()


def test_errors_of_repeat_and_vmapped():
    with pytest.raises(
        ValueError, match=r"repeat\(.*the output must be like the input, float32\[4,3\]; got float32\[4,2"
    ):
        dl.repeat(L.dense(2), 3).init(KEY, X)
    stack = dl.repeat(L.dense(3), 3)
    params, _ = stack.init(KEY, X)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    with pytest.raises(ValueError, match=r"the output must be like the input, bfloat16\[4,3\]; got float32\[4,3\]"):
        stack.apply(wide, {}, X.astype(jnp.bfloat16), train=False)
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match="n must be a positive int"):
            dl.repeat(L.dense(3), n)
        with pytest.raises(ValueError, match="n must be a positive int"):
            dl.vmapped(L.dense(3), n)
    with pytest.raises(ValueError, match="remat must be True or False; got .*For a policy, repeat a remat"):
        dl.repeat(L.dense(3), 2, remat=jax.checkpoint_policies.dots_saveable)
    with pytest.raises(ValueError, match="in_axis must be None .one input for all. or 0 .one for each.; got 1"):
        dl.vmapped(L.dense(3), 2, in_axis=1)
    with pytest.raises(ValueError, match=r"input must have a leading axis of 2, the members; got float32\[4,3\]"):
        dl.vmapped(L.dense(3), 2, in_axis=0).init(KEY, X)


@pytest.mark.slow
def test_vmapped_equals_a_loop_over_its_members():
    one = dl.sequential(L.dense(4), L.batch_norm(), jnp.tanh, L.dropout(0.3))
    ensemble = dl.vmapped(one, 3)
    params, state = jax.jit(partial(ensemble.init, x=X))(KEY)
    y, new, (gradient, _) = outcome(ensemble, params, state, X)

    @jax.jit
    def alone(key, train_key):
        fresh = one.init(key, X)
        return fresh, one.apply(*fresh, X, train=True, key=train_key)

    for i in range(3):
        fresh, expected = alone(child_key(KEY, str(i)), child_key(jax.random.key(7), str(i)))
        jax.tree.map(np.testing.assert_array_equal, (member(params, i), member(state, i)), fresh)
        close((y[i], member(new, i)), expected)
    assert y.shape == (3, 4, 4)
    assert gradient["dense"]["kernel"].shape == (3, 3, 4)
    chained = dl.sequential(dl.vmapped(L.dense(2), 3), dl.vmapped(L.dense(5), 3, in_axis=0))
    params, state = chained.init(KEY, X)
    y, _ = chained.apply(params, state, X, train=False)
    expected = X @ params["vmapped"]["kernel"][1] @ params["vmapped_1"]["kernel"][1]
    close(y[1], expected)
    assert_decodes(dl.vmapped(dl.sequential(running_sum(), L.dense(2)), 3), (2, 6, 3))


# Wrappers


def test_wrappers_keep_paths_and_initial_values():
    plain = dl.sequential(L.dense(3), jnp.tanh, L.dense(2))
    params, _ = plain.init(KEY, X)
    wrapped = dl.sequential(dl.remat(L.dense(3)), dl.remat(jnp.tanh), dl.remat(dl.spectral_norm(L.dense(2))))
    found, state = wrapped.init(KEY, X)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert list(flat_paths(state)) == ["dense_1/spectral_norm/kernel/u", "dense_1/spectral_norm/kernel/v"]


def test_errors_inside_note_the_path():
    inner = dl.sequential(L.dense(3))
    for wrap in (dl.remat, partial(dl.repeat, n=2), partial(dl.vmapped, n=2), dl.weight_norm, partial(dl.lora, rank=1)):
        model = dl.sequential(("outer", wrap(inner)))
        params, state = model.init(KEY, X)
        with pytest.raises(ValueError, match=r"dense\(features=3\): kernel must have shape \(2, features\)") as caught:
            model.apply(params, state, X[:, :2], train=False)
        assert '  in sequential "outer/dense", input float32[4,2]' in caught.value.__notes__
    with pytest.raises(TypeError, match=r"remat\(.*policy must be one of jax.checkpoint_policies, or None; got dots"):
        dl.remat(inner, policy="dots")
    with pytest.raises(TypeError, match=r"each child must be a layer, a function of arrays, .* got 3"):
        dl.remat(3)


def test_remat_recomputes_and_updates_once():
    runs = 0

    def counted(x):
        def count(x):
            nonlocal runs
            runs += 1
            return x

        return jnp.tanh(jax.pure_callback(count, jax.ShapeDtypeStruct(x.shape, x.dtype), jax.lax.stop_gradient(x)) + x)

    plain = dl.sequential(L.dense(3), L.batch_norm(), L.dropout(0.5))
    params, state = plain.init(KEY, X)
    close(outcome(dl.remat(plain), params, state, X), outcome(plain, params, state, X))
    outcome(dl.remat(counted), {}, {}, X)
    jax.effects_barrier()
    assert runs == 2
    outcome(dl.remat(counted, policy=jax.checkpoint_policies.everything_saveable), {}, {}, X)
    jax.effects_barrier()
    assert runs == 3
    assert_decodes(dl.remat(running_sum()), (2, 6, 3))


def test_tie_shares_an_array_and_adds_its_gradients():
    inner = dl.sequential(
        ("body", dl.sequential(("in", L.dense(5, use_bias=False)), jnp.tanh)), ("out", L.dense(3, use_bias=False))
    )
    tied = dl.tie(inner, {"out/kernel": ("body/in/kernel", jnp.transpose)})
    params, state = tied.init(KEY, X)
    assert list(flat_paths(params)) == ["body/in/kernel"]
    kernel = params["body"]["in"]["kernel"]
    whole = {**params, "out": {"kernel": kernel.T}}
    y, _, (gradient, dx) = outcome(tied, params, state, X)
    z, _, (apart, dz) = outcome(inner, whole, state, X)
    close((y, dx), (z, dz))
    close(gradient["body"]["in"]["kernel"], apart["body"]["in"]["kernel"] + apart["out"]["kernel"].T)
    assert_decodes(
        dl.tie(dl.sequential(running_sum(), L.dense(3), L.dense(3)), {"dense_1/bias": "dense/bias"}), (2, 6, 3)
    )
    text = summary(dl.sequential(("model", tied)), X)
    assert "model/body/in" in text
    assert "15 parameters" in text


def test_errors_of_tie():
    model = dl.sequential(L.dense(5), L.dense(3), L.dense(3))
    with pytest.raises(
        ValueError, match="'dense_1/kernal' must be a parameter's path; got paths such as dense_1/kernel"
    ):
        dl.tie(model, {"dense_1/kernal": "dense/kernel"}).init(KEY, X)
    with pytest.raises(ValueError, match="'dens/kernel' must be a parameter's path; got paths such as dense/kernel"):
        dl.tie(model, {"dense_1/kernel": "dens/kernel"}).init(KEY, X)
    with pytest.raises(
        ValueError,
        match=r"what 'dense/kernel' gives must be as 'dense_1/kernel', float32\[5,3\]; got "
        r"float32\[3,5\]. Did you mean \('dense/kernel', jnp.transpose\)\?",
    ):
        dl.tie(model, {"dense_1/kernel": "dense/kernel"}).init(KEY, X)
    with pytest.raises(ValueError, match="owner of 'dense_1/bias' must not be tied itself; got 'dense_1/bias'"):
        dl.tie(model, {"dense_1/bias": "dense_1/bias"})
    with pytest.raises(ValueError, match="must not be tied itself; got 'dense_1/bias'. Did you mean the owner of"):
        dl.tie(model, {"dense_2/bias": "dense_1/bias", "dense_1/bias": "x"})
    for ties in ({}, "a", {"a": 3}, {"a": ("b", "c")}):
        with pytest.raises(TypeError, match="ties must be .tied path: owner's path, or"):
            dl.tie(model, ties)


def test_lora_begins_as_its_base_and_merges_into_it():
    base = dl.sequential(L.conv(4, (3, 2)), jnp.tanh, L.flatten(), L.dense(2))
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 5, 4, 3)), jnp.float32)
    model = dl.lora(base, 2, alpha=5, where="conv/kernel")
    plain, _ = base.init(KEY, x)
    params, state = model.init(KEY, x)
    jax.tree.map(np.testing.assert_array_equal, params["base"], plain)
    assert jax.tree.map(jnp.shape, params["lora"]) == {"conv": {"kernel": {"a": (18, 2), "b": (2, 4)}}}
    apply, base_apply = jax.jit(partial(model.apply, train=False)), jax.jit(partial(base.apply, train=False))
    close(apply(params, state, x)[0], base_apply(plain, {}, x)[0])
    b = jnp.ones((2, 4))
    params["lora"]["conv"]["kernel"]["b"] = b
    update = 2.5 * params["lora"]["conv"]["kernel"]["a"] @ b
    merged = dl.merge_lora(model, params)
    close(merged["conv"]["kernel"], plain["conv"]["kernel"] + update.reshape(3, 2, 3, 4))
    close(apply(params, state, x)[0], base_apply(merged, {}, x)[0])
    close(
        dl.merge_lora(
            dl.lora(L.dense(2), 3), {"base": {"kernel": X.T @ X}, "lora": {"kernel": {"a": X.T @ X, "b": X.T @ X}}}
        )["kernel"],
        X.T @ X + X.T @ X @ X.T @ X,
        1e-4,
    )
    text = summary(model, x)
    assert "120" in text
    assert "194 parameters" in text


def test_errors_of_lora_and_the_norms():
    with pytest.raises(ValueError, match="rank must be a positive int"):
        dl.lora(L.dense(3), 0)
    for alpha in (0, "1", True):
        with pytest.raises(ValueError, match="alpha must be a positive number"):
            dl.lora(L.dense(3), 1, alpha=alpha)
    with pytest.raises(TypeError, match=r"merge_lora: layer must be a lora\(…\); got dense"):
        dl.merge_lora(L.dense(3), {})
    with pytest.raises(ValueError, match="iterations must be a positive int"):
        dl.spectral_norm(L.dense(3), iterations=0)
    for make in (partial(dl.lora, rank=1), dl.weight_norm, dl.spectral_norm):
        with pytest.raises(ValueError, match=r"where='\*/kernal' must match a path; got paths such as .*kernel"):
            make(L.dense(3), where="*/kernal").init(KEY, X)
        with pytest.raises(ValueError, match=r"with two or more axes, \(…, out\); 'bias' does; got float32\[3\]"):
            make(L.dense(3), where="bias").init(KEY, X)
        with pytest.raises(TypeError, match="where must be a glob of paths"):
            make(L.dense(3), where=3)
    with pytest.raises(ValueError, match="the layer inside must have no state of the name 'spectral_norm'"):
        dl.spectral_norm(dl.spectral_norm(L.dense(3))).init(KEY, X)
    with pytest.raises(ValueError, match=r"weight_norm: scale must have shape \(3,\); got float32\[4\]"):
        F.weight_norm(X, jnp.ones(4))
    with pytest.raises(ValueError, match="direction must have at least two axes"):
        F.weight_norm(jnp.ones(3), jnp.ones(3))
    with pytest.raises(TypeError, match="kernel must be a floating array"):
        F.spectral_norm(jnp.ones((2, 2), int), jnp.ones(2), jnp.ones(2))
    with pytest.raises(
        ValueError, match=r"u and v must have shapes \(3,\) and \(4,\); got \(float32\[4\], float32\[3\]\)"
    ):
        F.spectral_norm(X, jnp.ones(4), jnp.ones(3))
    with pytest.raises(ValueError, match="iterations must be a positive int"):
        F.spectral_norm(X, jnp.ones(3), jnp.ones(4), iterations=-1)


def test_spectral_norm_finds_the_largest_singular_value_and_keeps_its_vectors_out_of_training():
    layer = dl.spectral_norm(dl.sequential(L.dense(3, use_bias=False), L.batch_norm()), iterations=2)
    params, state = layer.init(KEY, X)
    for _ in range(20):
        _, state = layer.apply(params, state, X, train=True)
    kernel = params["dense"]["kernel"]
    vectors = state["spectral_norm"]["dense"]["kernel"]
    sigma = np.linalg.svd(kernel, compute_uv=False)[0]
    close(vectors["v"] @ kernel @ vectors["u"], sigma)
    _, kept = layer.apply(params, state, X, train=False)
    jax.tree.map(np.testing.assert_array_equal, kept, state)
    normed = F.spectral_norm(kernel, vectors["u"], vectors["v"])[0]
    close(np.linalg.norm(normed, 2), 1.0)
    assert_decodes(dl.spectral_norm(dl.sequential(running_sum(), L.dense(3))), (2, 6, 3))


def test_spectral_norm_of_zeros_is_zero():
    y, vjp = jax.vjp(lambda kernel: F.spectral_norm(kernel, jnp.ones(2), jnp.ones(3))[0], jnp.zeros((3, 2)))
    assert not y.any()
    assert jnp.isfinite(vjp(jnp.ones((3, 2)))[0]).all()


@pytest.mark.parametrize(("dtype", "size"), [(jnp.float16, 300.0), (jnp.bfloat16, 1.37)])
def test_spectral_norm_divides_in_float32(dtype, size):
    rng = np.random.default_rng(0)  # of one rank; σ = 256 · size is beyond float16
    kernel = jnp.asarray(size * np.sign(rng.normal(size=(256, 1)) * rng.normal(size=(1, 256))), dtype)
    kernel = kernel if dtype == jnp.float16 else kernel * jnp.asarray(1 + rng.uniform(size=(256, 256)), dtype)
    u = jnp.linalg.svd(kernel.astype(jnp.float32))[2][0]
    _, u, v = jax.jit(partial(F.spectral_norm, iterations=20))(kernel, u, jnp.ones(256))
    found = F.spectral_norm(kernel, u, v)[0]  # not compiled: XLA may keep more digits than it is asked for
    wide = F.spectral_norm(kernel.astype(jnp.float32), u, v)[0]
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, wide.astype(dtype))
    close(np.linalg.norm(np.float32(found), 2), 1.0, 2e-3)


def test_weight_norm_of_zeros_is_zero():
    y, vjp = jax.vjp(F.weight_norm, jnp.zeros((3, 2)), jnp.ones(2))
    assert not y.any()
    assert all(jnp.isfinite(leaf).all() for leaf in vjp(jnp.ones((3, 2))))


# Experts


def loop_over_tokens(params, x, top_k, room=None, where=None):
    """Each token through its experts one at a time, and the balance, in float64 NumPy."""
    router, kernels, biases = (
        np.float64(leaf)
        for leaf in (params["router"]["kernel"], params["experts"]["kernel"], params["experts"]["bias"])
    )
    n, out = biases.shape
    tokens = np.float64(x).reshape(-1, x.shape[-1])
    real = np.ones(len(tokens), bool) if where is None else np.asarray(where).reshape(-1)
    p = np.exp(tokens @ router)
    p /= p.sum(1, keepdims=True)
    best = np.argsort(-p, axis=1, kind="stable")[:, :top_k]
    taken, y, count = [0] * n, np.zeros((len(tokens), out)), np.zeros(n)
    for choice in range(top_k):
        for t in np.flatnonzero(real):
            e = best[t, choice]
            count[e] += 1
            gate = p[t, e] / (1 if top_k == 1 else p[t, best[t]].sum())
            taken[e] += 1
            if room is None or taken[e] <= room:
                y[t] += gate * (tokens[t] @ kernels[e] + biases[e])
    share = count / max(count.sum(), 1)
    balance = n * (share * p[real].sum(0) / max(real.sum(), 1)).sum()
    return y.reshape(*x.shape[:-1], out), balance


@settings(deadline=None, max_examples=8)
@given(
    tokens=st.integers(0, 7),
    n=st.integers(1, 4),
    top_k=st.integers(1, 4),
    capacity=st.sampled_from([None, 0.5, 1.0, 2.5]),
)
def test_mixture_of_experts_equals_a_loop_over_tokens(tokens, n, top_k, capacity):
    top_k = min(top_k, n)
    moe = dl.mixture_of_experts(L.dense(2), n, top_k=top_k, capacity=capacity, balance=0.1)
    x = jnp.asarray(np.random.default_rng(tokens).normal(size=(1, tokens, 3)), jnp.float32)

    @jax.jit
    def both_modes():
        params, state = moe.init(KEY, x)
        params["experts"]["bias"] = jnp.arange(2.0 * n).reshape(n, 2)
        return params, *(moe.apply(params, state, x, train=train) for train in (True, False))

    params, (y, new), (predicted, kept) = both_modes()
    room = None if capacity is None else math.ceil(capacity * top_k * tokens / n)
    expected, balance = loop_over_tokens(params, x, top_k, room)
    close(y, expected)
    close(new["aux_loss"], 0.1 * balance)
    close(predicted, loop_over_tokens(params, x, top_k)[0])
    assert not kept["aux_loss"]


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [None, 0.7])
def test_padding_counts_neither_in_the_balance_nor_in_the_queues(capacity):
    moe = dl.mixture_of_experts(L.dense(2), 3, capacity=capacity)
    batch = dl.Ragged(jnp.asarray(np.random.default_rng(4).normal(size=(3, 5, 3)), jnp.float32), jnp.array([2, 0, 5]))
    params, state = moe.init(KEY, batch)
    y, new = moe.apply(params, state, batch, train=True)
    mask = batch.mask()
    room = None if capacity is None else math.ceil(capacity * 2 * 15 / 3)
    expected, balance = loop_over_tokens(params, batch.x, 2, room, mask)
    close(jnp.where(mask[..., None], y.x, 0), expected)
    close(new["aux_loss"], 0.01 * balance)


def test_queues_have_the_gradients_of_the_dense_form():
    """With room for all, both forms compute the same."""
    dense, queued = (dl.mixture_of_experts(L.dense(2), 3, capacity=capacity) for capacity in (None, 3.0))
    params, state = dense.init(KEY, X)
    close(outcome(queued, params, state, X), outcome(dense, params, state, X))


@pytest.mark.slow
def test_experts_may_be_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(6).normal(size=(2, 4, 3)))
        moe = dl.mixture_of_experts(L.dense(2, param_dtype=jnp.float64), 3, param_dtype=jnp.float64)
        params, state = moe.init(KEY, x)
        assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {np.dtype("float64")}
        y, new = moe.apply(params, state, x, train=True)
        expected, balance = loop_over_tokens(params, x, 2)
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        np.testing.assert_allclose(new["aux_loss"], 0.01 * balance, rtol=1e-12)
    half = dl.mixture_of_experts(L.dense(2), 3, param_dtype=jnp.bfloat16)
    params, state = jax.eval_shape(half.init, KEY, X)
    assert (params["router"]["kernel"].dtype, state["aux_loss"].dtype) == (jnp.bfloat16, jnp.float32)


def test_errors_of_experts():
    with pytest.raises(ValueError, match="top_k must be at most n=2; got 3"):
        dl.mixture_of_experts(L.dense(2), 2, top_k=3)
    for name, value in (("capacity", -1), ("capacity", True), ("balance", "a")):
        with pytest.raises(ValueError, match=f"{name} must be a number from 0"):
            dl.mixture_of_experts(L.dense(2), 2, **{name: value})
    with pytest.raises(ValueError, match="an expert must keep no state, as the positions"):
        dl.mixture_of_experts(L.batch_norm(), 2).init(KEY, X)
    with pytest.raises(
        ValueError, match=r"an expert must give \(positions, out\) for its input, float32\[4,3\]; got f"
    ):
        dl.mixture_of_experts(lambda x: x.sum(0), 2).init(KEY, X)
    with pytest.raises(ValueError, match=r"input must have at least two axes, \(…, features\); got float32\[3\]"):
        dl.mixture_of_experts(L.dense(2), 2).init(KEY, X[0])
    with pytest.raises(TypeError, match="input must be a floating array"):
        dl.mixture_of_experts(L.dense(2), 2).init(KEY, jnp.ones((2, 3), int))
    with pytest.raises(ValueError, match="logits must have an axis of at least 4 experts last"):
        F.top_k_gates(X, 4)
    with pytest.raises(ValueError, match=r"logits and experts must be \(tokens, n\) and \(tokens, top_k\)"):
        F.load_balance(X, jnp.zeros((3, 1), int))
    with pytest.raises(ValueError, match=r"where must have shape \(4,\)"):
        F.load_balance(X, jnp.zeros((4, 1), int), jnp.ones(3, bool))


# Together


def test_numpys_float64_is_what_it_becomes_in_a_program():
    x = np.ones((4, 3))
    for model in (dl.repeat(L.dense(3), 2), dl.vmapped(L.dense(3), 2)):
        params, state = model.init(KEY, x)
        expected, _ = model.init(KEY, jnp.asarray(x))
        assert specs(params) == specs(expected)
        y, _ = model.apply(params, state, x, train=False)
        assert y.dtype == np.float32
    with jax.enable_x64(True):
        assert specs(x).dtype == np.float64
    assert specs(KEY) == jax.ShapeDtypeStruct((), KEY.dtype)


def test_weight_norm_leaves_other_parameters_of_those_names_alone():
    @dl.stateless
    def arrow():
        def init(key, x):
            return {"direction": jnp.full((3, 3), 2.0), "scale": jnp.full(3, 5.0)}

        return init, lambda params, x: (x @ params["direction"]) * params["scale"][None]

    plain = dl.sequential(arrow(), L.dense(2))
    model = dl.weight_norm(plain)
    params, state = model.init(KEY, X)
    assert jax.tree.map(jnp.shape, params["arrow"]) == {"direction": (3, 3), "scale": (3,)}
    assert set(params["dense"]["kernel"]) == {"direction", "scale"}
    close(model.apply(params, state, X, train=False)[0], plain.apply(*plain.init(KEY, X), X, train=False)[0])
    twice = dl.weight_norm(dl.weight_norm(L.dense(2)), where="*/direction")
    params, state = twice.init(KEY, X)
    assert set(params["kernel"]["direction"]) == {"direction", "scale"}
    close(twice.apply(params, state, X, train=False)[0], outcome_of_dense(X))


def outcome_of_dense(x):
    layer = L.dense(2)
    return layer.apply(*layer.init(KEY, x), x, train=False)[0]


def test_compositions_build_apply_and_count():
    models = {
        "remat of repeat": dl.remat(dl.repeat(block(), 3)),
        "repeat of wrappers": dl.repeat(
            dl.residual(dl.spectral_norm(dl.weight_norm(L.dense(3)), where="*/direction")), 3
        ),
        "vmapped repeat": dl.vmapped(dl.repeat(dl.sequential(L.dense(3), L.dropout(0.1)), 2), 3),
        "repeat of vmapped": dl.sequential(
            dl.vmapped(L.dense(3), 2), dl.repeat(dl.vmapped(L.dense(3), 2, in_axis=0), 3)
        ),
        "lora of tie": dl.lora(dl.tie(dl.sequential(L.dense(3), L.dense(3)), {"dense_1/kernel": "dense/kernel"}), 1),
        "tie of repeat": dl.tie(
            dl.sequential(("in", L.dense(3)), dl.repeat(L.dense(3), 2), ("out", L.dense(3))),
            {"out/kernel": "in/kernel"},
        ),
        "weight norm of experts": dl.mixture_of_experts(dl.weight_norm(L.dense(3)), 2),
    }
    for name, model in models.items():
        params, state = jax.eval_shape(partial(model.init, x=X), KEY)
        _, new, (gradient, _) = jax.eval_shape(partial(outcome, model), params, state, X)
        assert specs((gradient, new)) == specs((params, state)), name
        parts = []
        jax.eval_shape(lambda key, model=model, parts=parts: build(model, key, X, parts.append)[:2], KEY)
        count = sum(leaf.size for part in parts for leaf in jax.tree.leaves(part.built.params))
        assert count == sum(leaf.size for leaf in jax.tree.leaves(params)), name
        assert f"{count:,} parameters" in summary(dl.sequential(model), X), name
