"""The layer contract, over every row of the zoo."""

import inspect
import json
import pathlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from zoo import ROWS, Row

import jaxdl as dl
from jaxdl.core import build, specs

GOLDEN = pathlib.Path(__file__).parent / "golden" / "parameters.json"
KEY = jax.random.key(3)

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
both_modes = pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])


def made(row: Row, dtype=jnp.float32):
    """The layer, and its parameters and state from the spec alone, floats cast to ``dtype`` (state stays wide)."""
    layer = row.make()
    params, state = layer.init(jax.random.key(0), row.spec())
    return layer, jax.tree.map(lambda leaf: leaf.astype(dtype), params), state


def paths(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): list(leaf.shape)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def test_every_public_layer_has_a_row():
    kinds = {row.make().kind for row in ROWS}
    public = {name for module in (dl.layers, dl.combine) for name, value in vars(module).items() if callable(value)}
    assert public == kinds


@every_row
def test_init_reads_shapes_only(row):
    layer = row.make()
    params, state = layer.init(jax.random.key(0), row.x())
    again = jax.eval_shape(partial(layer.init, x=row.spec()), jax.random.key(0))
    assert specs((params, state)) == again


@every_row
def test_names_are_paths(row):
    _, params, state = made(row)
    for tree in (params, state):
        assert isinstance(tree, dict)
        for path, _leaf in jax.tree.leaves_with_path(tree):
            assert all(isinstance(entry.key, str) and entry.key and not set("/*") & set(entry.key) for entry in path)
        assert not any(isinstance(subtree, dict) and not subtree for subtree in tree.values())


@every_row
@both_modes
def test_two_results_and_a_state_like_the_old_one(row, train):
    layer, params, state = made(row)
    y, new = layer.apply(params, state, row.x(), train=train, key=KEY)
    assert specs(new) == specs(state)
    if not train:
        jax.tree.map(np.testing.assert_array_equal, new, state)
    assert jnp.isfinite(y).all()


@every_row
def test_build_gives_the_output_spec(row):
    layer, params, state = made(row)
    built = build(layer, jax.random.key(0), row.spec())
    y, _ = layer.apply(params, state, row.x(), train=False)
    assert built.output == jax.ShapeDtypeStruct(y.shape, y.dtype)
    jax.tree.map(np.testing.assert_array_equal, (built.params, built.state), (params, state))


@every_row
@both_modes
def test_jit_equals_eager_and_compiles_once(row, train):
    layer, params, state = made(row)
    traces = 0

    def counted(params, state, x, key):
        nonlocal traces
        traces += 1
        return layer.apply(params, state, x, train=train, key=key)

    jitted = jax.jit(counted)
    with jax.checking_leaks():
        found = jitted(params, state, row.x(), KEY)
    # What came out goes in again, as in training: it must fit the program that is there.
    jitted(params, found[1], row.x(), KEY)
    assert traces == 1
    expected = layer.apply(params, state, row.x(), train=train, key=KEY)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected)


@every_row
def test_vmap_over_parameters(row):
    layer = row.make()
    keys = jax.random.split(jax.random.key(5), 3)
    params, state = jax.vmap(partial(layer.init, x=row.spec()))(keys)
    run = partial(layer.apply, train=True)
    stacked, _ = jax.vmap(lambda p, s: run(p, s, row.x(), key=KEY), axis_size=3)(params, state)
    for index in range(3):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], (params, state))
        alone, _ = run(*one, row.x(), key=KEY)
        np.testing.assert_allclose(stacked[index], alone, rtol=2e-5, atol=2e-6)


@every_row
def test_remat_changes_nothing(row):
    layer, params, state = made(row)

    def total(params, x, apply):
        return jnp.sum(jnp.sin(apply(params, state, x, key=KEY)[0]))

    plain = partial(layer.apply, train=True)
    gradient = jax.jit(jax.grad(total, argnums=(0, 1)), static_argnums=2)
    expected = gradient(params, row.x(), plain)
    found = gradient(params, row.x(), jax.checkpoint(plain))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)


@every_row
@both_modes
def test_gradients_equal_finite_differences(row, train):
    with jax.enable_x64(True):
        layer = row.make()
        params, state = layer.init(jax.random.key(0), row.spec(dtype=jnp.float64))
        params, state = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, state))
        x = row.x(dtype=jnp.float64)

        @jax.jit
        def output(params, x):
            return layer.apply(params, state, x, train=train, key=KEY)[0]

        assert output(params, x).dtype == jnp.float64
        check_grads(output, (params, x), order=1, modes=["rev"], eps=1e-5, rtol=1e-6, atol=1e-6)


@every_row
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_float_in_same_float_out(row, dtype):
    layer, params, state = made(row, dtype)
    y, new = layer.apply(params, state, row.x(dtype=dtype), train=True, key=KEY)
    assert y.dtype == dtype
    assert specs(new) == specs(state)
    wide, _ = layer.apply(*made(row)[1:], row.x(), train=True, key=KEY)
    np.testing.assert_allclose(y.astype(jnp.float32), wide, atol=0.1, rtol=0.1)


@every_row
@both_modes
def test_an_empty_batch(row, train):
    layer, params, state = made(row)
    y, new = layer.apply(params, state, row.x(batch=0), train=train, key=KEY)
    assert y.shape[0] == 0
    jax.tree.map(np.testing.assert_array_equal, new, state)
    gradient = jax.grad(lambda p: layer.apply(p, state, row.x(batch=0), train=train, key=KEY)[0].sum())(params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))


@every_row
def test_made_alike_is_equal_and_prints_its_call(row):
    one, two = row.make(), row.make()
    assert one == two
    assert hash(one) == hash(two)
    assert repr(one) == repr(two)
    assert repr(one).startswith(one.kind + "(")
    assert "0x" not in repr(one)


@every_row
def test_train_has_no_default_and_is_never_traced(row):
    layer, params, state = made(row)
    assert inspect.signature(layer.apply).parameters["train"].default is inspect.Parameter.empty
    with pytest.raises(TypeError, match=rf"{layer.kind}.apply\(\) missing 1 required keyword-only argument: 'train'"):
        layer.apply(params, state, row.x())
    with pytest.raises(
        TypeError, match=r"train must be a Python bool.*jax\.jit\(partial\(layer\.apply, train=True\)\)"
    ):
        jax.jit(layer.apply)(params, state, row.x(), train=True, key=KEY)


@pytest.mark.parametrize("row", [row for row in ROWS if row.positionwise], ids=lambda row: row.name)
@both_modes
def test_padding_of_a_ragged_batch_changes_nothing(row, train):
    layer = row.make()
    width = row.shape[-1]
    lengths = jnp.array([3, 1, 4])
    x = jax.random.normal(jax.random.key(9), (3, 5, width))
    batch = dl.Ragged(x, lengths)
    params, state = layer.init(jax.random.key(0), batch)
    noise = jnp.where(batch.mask()[..., None], 0, 100.0) + x

    def outcome(params, x):
        y, new = layer.apply(params, state, dl.Ragged(x, lengths), train=train, key=KEY)
        return jnp.sum(jnp.where(batch.mask()[..., None], jnp.sin(y.x), 0)), (y, new)

    (_, (y, new)), gradient = jax.value_and_grad(outcome, argnums=(0, 1), has_aux=True)(params, x)
    (_, (y2, new2)), gradient2 = jax.value_and_grad(outcome, argnums=(0, 1), has_aux=True)(params, noise)
    np.testing.assert_array_equal(y.lengths, lengths)
    assert not gradient[1][~batch.mask()].any()
    real = batch.mask()
    np.testing.assert_allclose(y.x[real], y2.x[real], rtol=1e-5, atol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), (new, gradient), (new2, gradient2))


def test_layers_that_mix_positions_refuse_ragged_batches():
    batch = dl.Ragged(jnp.ones((2, 5, 3)), jnp.array([5, 2]))
    for layer in (dl.layers.conv(4, 3), dl.layers.max_pool(2), dl.layers.flatten()):
        with pytest.raises(TypeError, match=rf"{layer.kind}.*must be an array: this layer mixes positions; got Ragged"):
            layer.init(jax.random.key(0), batch)


def test_parameter_paths_are_what_they_were():
    """A rename would break saved weights. On purpose? Write the file anew with ``python tests/test_contract.py``."""
    found = current_paths()
    assert found == json.loads(GOLDEN.read_text())


def current_paths():
    return {row.name: dict(zip(("params", "state"), map(paths, made(row)[1:]), strict=True)) for row in ROWS}


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(current_paths(), indent=1) + "\n")
