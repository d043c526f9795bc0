"""What is seen within a model is what passes through it, and looking changes nothing."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from zoo import LAYERS

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.core import specs
from jaxdl.core.children import Children
from jaxdl.inspect import gradients, intermediates
from jaxdl.inspect.places import Watched, answers, asking, choose, without_answers

KEY = jax.random.key(3)


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def close(found, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


def program(function, *args):
    return re.sub(r"0x\w+", "", str(jax.make_jaxpr(function)(*args)))


@pytest.mark.slow
@pytest.mark.parametrize("row", LAYERS, ids=lambda row: row.name)
def test_the_last_value_is_the_output_and_nothing_is_changed(row):
    layer, x = row.make(), row.x()
    params, state = jax.jit(partial(layer.init, x=row.spec()))(jax.random.key(0))

    places = choose("intermediates", layer, x, "**")
    assert places[-1].name == ""

    def plain(params, state, x, train):
        return layer.apply(params, state, x, train=train, key=KEY)

    def watched(params, state, x, train):
        _, new = Watched(layer).apply(params, asking(state, places), x, train=train, key=KEY)
        values = answers(new, places)
        assert list(values) == [place.name for place in places]
        return values[""]["output"], without_answers(new)

    for train in (False, True):
        # Mostly it is the same program; only loops and what is computed anew say more.
        one, two = (program(partial(function, train=train), params, state, x) for function in (plain, watched))
        if one != two:
            found, expected = jax.jit(lambda *args, train=train: (watched(*args, train), plain(*args, train)))(
                params, state, x
            )
            close(found, expected)


DEEP = dl.sequential(
    ("stem", L.dense(4)),
    ("blocks", dl.repeat(dl.residual(L.layer_norm(), ("mlp", dl.sequential(L.dense(8), jnp.tanh, L.dense(4)))), 3)),
    dl.branch(("one", L.dense(2)), ("two", dl.remat(L.dense(3))), merge="concat"),
    ("heads", dl.vmapped(L.dense(2), 5)),
)
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)), jnp.float32)


@pytest.fixture(scope="module")
def deep():
    return jax.jit(DEEP.init)(jax.random.key(1), X)


def by_hand(params, x):
    """The same model, run layer by layer, under the same names."""
    dense = lambda p, x: F.dense(x, p["kernel"], p["bias"])  # noqa: E731
    found = {"stem": dense(params["stem"], x)}
    x, members = found["stem"], []
    for i in range(3):
        p = jax.tree.map(lambda leaf, i=i: leaf[i], params["blocks"])
        norm = L.layer_norm().apply(p["layer_norm"], {}, x, train=False)[0]
        up = dense(p["mlp"]["dense"], norm)
        down = dense(p["mlp"]["dense_1"], jnp.tanh(up))
        x = x + down
        members.append([norm, up, jnp.tanh(up), down, down, x])
    names = [f"blocks/{name}" for name in ("layer_norm", "mlp/dense", "mlp/tanh", "mlp/dense_1", "mlp")]
    columns = map(jnp.stack, zip(*members, strict=True))
    found |= dict(zip([*names, "blocks[:]"], columns, strict=True)) | {"blocks": x}
    found |= {f"branch/{name}": dense(params["branch"][name], x) for name in ("one", "two")}
    x = found["branch"] = jnp.concatenate([found["branch/one"], found["branch/two"]], -1)
    heads = jax.vmap(dense, (0, None))(params["heads"], x)
    return found | {"heads[:]": heads, "heads": heads, "": heads}


def test_values_are_those_of_the_layers_run_by_hand(deep):
    found = intermediates(DEEP, *deep, X)
    expected = by_hand(deep[0], X)
    assert list(found) == list(expected)
    close(found, expected)


@pytest.mark.slow
def test_gradients_are_those_of_what_follows(deep):
    params, state = deep

    def loss(y):
        return jnp.sum(jnp.sin(y))

    found = gradients(DEEP, params, state, X, loss)
    assert list(found) == list(intermediates(DEEP, params, state, X))

    def after(y):
        rest = dl.sequential(("branch", TAIL_BRANCH), ("heads", TAIL_HEADS))
        return loss(rest.apply({"branch": params["branch"], "heads": params["heads"]}, {}, y, train=False)[0])

    values = intermediates(DEEP, params, state, X)
    close(found["blocks"], jax.grad(after)(values["blocks"]))
    close(found["blocks[:]"][-1], found["blocks"])
    close(found[""], jnp.cos(values[""]))
    # A layer's bias is added to its output: its gradient is the sum of that output's.
    direct = jax.grad(lambda params: loss(DEEP.apply(params, state, X, train=False)[0]))(params)
    close(found["stem"].sum(0), direct["stem"]["bias"])
    close(found["blocks/mlp/dense"].sum(1), direct["blocks"]["mlp"]["dense"]["bias"])
    close(found["branch/two"].sum(0), direct["branch"]["two"]["bias"])


TAIL_BRANCH = dl.branch(("one", L.dense(2)), ("two", dl.remat(L.dense(3))), merge="concat")
TAIL_HEADS = dl.vmapped(L.dense(2), 5)


@pytest.mark.slow
def test_it_works_under_jit_grad_and_vmap(deep):
    params, state = deep
    see = partial(intermediates, DEEP, train=False, paths=("blocks*", "heads"))
    plain = see(params, state, X)
    within = [f"blocks/{name}" for name in ("layer_norm", "mlp/dense", "mlp/tanh", "mlp/dense_1", "mlp")]
    assert list(plain) == [*within, "blocks[:]", "blocks", "heads"]
    close(jax.jit(see)(params, state, X), plain)
    mapped = jax.vmap(see, (None, None, 0))(params, state, X)
    close(mapped["blocks"], plain["blocks"])
    found = jax.grad(lambda x: see(params, state, x)["heads"].sum())(X)
    close(found, jax.grad(lambda x: DEEP.apply(params, state, x, train=False)[0].sum())(X))


@pytest.mark.slow
def test_stacks_of_stacks_wrappers_experts_and_ragged_batches():
    model = dl.sequential(
        ("grid", dl.repeat(dl.residual(("pair", dl.vmapped(L.dense(4), 2)), ("mean", partial(jnp.mean, axis=0))), 3)),
        ("alone", dl.repeat(dl.repeat(L.dense(4), 2), 3)),
        ("norm", dl.spectral_norm(dl.sequential(L.dense(4), L.batch_norm()), where="dense/kernel")),
        ("experts", dl.mixture_of_experts(dl.sequential(L.dense(3), jnp.tanh), 2)),
        ("fine", dl.lora(L.dense(2), 1)),
    )
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    params, state = jax.jit(model.init)(jax.random.key(0), x)
    values = intermediates(model, params, state, x, train=True, key=KEY)
    shapes = {name: value.shape for name, value in values.items()}
    assert shapes == {
        "grid/pair[:]": (3, 2, 5, 4), "grid/pair": (3, 2, 5, 4), "grid/mean": (3, 5, 4),
        "grid[:]": (3, 5, 4), "grid": (5, 4),
        "alone[:][:]": (3, 2, 5, 4), "alone[:]": (3, 5, 4), "alone": (5, 4),
        "norm/dense": (5, 4), "norm/batch_norm": (5, 4), "norm": (5, 4),
        "experts/router": (5, 2), "experts/experts/dense": (2, 5, 3), "experts/experts/tanh": (2, 5, 3),
        "experts/experts[:]": (2, 5, 3), "experts/experts": (2, 5, 3), "experts": (5, 3),
        "fine": (5, 2), "": (5, 2),
    }  # fmt: skip
    assert list(shapes)[-2:] == ["fine", ""]
    equal(values["alone[:][:]"][:, -1], values["alone[:]"])
    equal(values["alone[:]"][-1], values["alone"])
    plain = model.apply(params, state, x, train=True, key=KEY)
    close(values[""], plain[0])

    words = dl.Ragged(jnp.array([[1, 2, 0], [3, 0, 0]]), jnp.array([2, 1]))
    model = dl.sequential(L.embedding(5, 3), L.dense(2), L.global_avg_pool())
    params, state = model.init(jax.random.key(0), words)
    values = intermediates(model, params, state, words)
    assert [type(value).__name__ for value in values.values()] == ["Ragged", "Ragged", "ArrayImpl", "ArrayImpl"]
    found = gradients(model, params, state, words, jnp.sum)
    assert found["dense"].lengths is None
    np.testing.assert_allclose(found["dense"].x[0, :, 0], [0.5, 0.5, 0.0])
    assert specs(found[""]) == specs(values[""])


def test_layers_without_floating_outputs_have_values_and_no_gradient():
    model = dl.sequential(L.dense(3), ("class", partial(jnp.argmax, axis=-1)), L.embedding(3, 2))
    params, state = model.init(jax.random.key(0), X)
    assert intermediates(model, params, state, X)["class"].dtype == jnp.int32
    assert list(gradients(model, params, state, X, jnp.sum)) == ["dense", "embedding", ""]


def test_a_combinator_of_ones_own():
    inner = dl.sequential(L.dense(3), jnp.tanh)

    @dl.core.combinator
    def twice(layer):
        children = Children("twice", [layer]) if isinstance(layer, tuple) else None
        one = children.named[0] if children else ("inner", layer)

        def build_both(key, x, visit, path):
            built = dl.core.build(one[1], key, x, visit, f"{path}/{one[0]}" if path else one[0])
            return dl.core.Built({one[0]: built.params}, {}, built.output)

        def apply(params, state, x, *, train, key=None):
            new = {}
            for _ in range(2):
                if children:
                    x = children.apply_one(one, params, state, x, new, train=train, key=key)
                else:
                    x = inner.apply(params["inner"], state.get("inner", {}), x, train=train)[0]
            return x, new

        return build_both, apply

    # With core's Children each layer is seen, as it was last; run by hand it is not, and nothing breaks.
    for layer, names in ((("inner", inner), ["twice/inner/dense", "twice/inner/tanh", "twice/inner"]), (inner, [])):
        model = dl.sequential(twice(layer))
        params, state = model.init(jax.random.key(0), X)
        values = intermediates(model, params, state, X)
        assert list(values) == [*names, "twice", ""]
        close(values[""], model.apply(params, state, X, train=False)[0])
        assert list(gradients(model, params, state, X, jnp.sum)) == list(values)


@dl.core.combinator
def looped(layer):
    children = Children("looped", [("inner", layer)])
    (one,) = children.named

    def build(key, x, visit, path):
        params, state = {}, {}
        return dl.core.Built(params, state, children.build_one(one, key, x, visit, path, params, state))

    def apply(params, state, x, *, train, key=None):
        def body(carry, _):
            new = {}
            y = children.apply_one(one, params, carry[1], carry[0], new, train=train, key=key)
            return (y, new), None

        return jax.lax.scan(body, (x, state), None, length=2)[0]

    return build, apply


def test_state_that_is_carried_by_hand_is_an_error_that_names_the_layer():
    model = dl.sequential(L.dense(3), ("loop", looped(L.batch_norm())), L.dense(2))
    params, state = model.init(jax.random.key(0), X)
    message = (
        r"inspect: each layer must be one that can be seen into: a combinator that carries .* by hand; got 'loop'. Did "
        r"you mean to let core.children.Children apply it outside of such a loop, or paths without it\?"
    )
    batch = (X, jnp.zeros(len(X), jnp.int32))
    for look in (
        lambda: intermediates(model, params, state, X),
        lambda: gradients(model, params, state, X, jnp.sum),
        lambda: dl.inspect.locate_nonfinite(model, params, state, batch),
    ):
        with pytest.raises(TypeError, match=message):
            look()
    alone = looped(L.batch_norm())
    with pytest.raises(TypeError, match="by hand; got 'looped'"):
        intermediates(alone, *alone.init(jax.random.key(0), X), X)
    assert list(intermediates(model, params, state, X, paths=["dense*", "loop"])) == ["dense", "loop", "dense_1"]
    with pytest.raises(TypeError, match="dot_general"):  # an error of the model's own stays what it is
        intermediates(dl.sequential(lambda x: x @ jnp.ones(7)), {}, {}, X)


def test_what_is_not_asked_for_leaves_no_trace():
    model = dl.sequential(L.dense(3), jnp.tanh, L.dense(2))
    params, state = model.init(jax.random.key(0), X)
    plain = jax.make_jaxpr(lambda p, x: model.apply(p, state, x, train=False)[0])(params, X)
    watched = jax.make_jaxpr(lambda p, x: intermediates(model, p, state, x, paths="dense_1")["dense_1"])(params, X)
    assert str(plain) == str(watched)


def test_wrong_arguments_are_named():
    model = dl.sequential(L.dense(3))
    params, state = model.init(jax.random.key(0), X)
    with pytest.raises(
        ValueError, match=r"intermediates: paths='dens' must match a layer's path; got paths such as dense"
    ):
        intermediates(model, params, state, X, paths="dens")
    with pytest.raises(TypeError, match="intermediates: paths must be a glob"):
        intermediates(model, params, state, X, paths=())
    with pytest.raises(ValueError, match=r"gradients: loss must give a floating scalar; got float32\[2,3\]"):
        gradients(model, params, state, X, lambda y: y)
