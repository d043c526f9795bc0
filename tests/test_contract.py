"""The layer contract, over every row of the zoo.

Each test compiles one program a row, and one for each mode where the modes differ, and looks at all that it can show.
Models are made of layers that have their own rows: what compiles them is slow, and derivatives are tested of layers
alone (models have ReLUs, over whose kinks finite differences step).
"""

import functools
import inspect
import json
import pathlib
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from zoo import LAYERS, MODELS, ROWS, Row

import jaxdl as dl
from jaxdl.core import build, specs
from jaxdl.core.layer import MAKES_A_LAYER

GOLDEN = pathlib.Path(__file__).parent / "golden" / "parameters.json"
KEY = jax.random.key(3)


def rows(chosen, compiled=True):
    """Rows to run over; those of one row go to one worker, which then compiles what they share once."""

    def marks(row):
        return [pytest.mark.xdist_group(row.name), *([pytest.mark.slow] if compiled and row in MODELS else [])]

    return pytest.mark.parametrize("row", [pytest.param(row, id=row.name, marks=marks(row)) for row in chosen])


every_row = rows(ROWS)
floating_rows = rows([row for row in ROWS if row.order])
floating_layers = rows([row for row in LAYERS if row.order])


@functools.cache
def shaped(row: Row):
    """The shapes of its parameters and state."""
    return jax.eval_shape(partial(row.make().init, x=row.spec()), jax.random.key(0))


@functools.cache
def made(row: Row):
    """The layer, and its parameters and state from the spec alone."""
    layer = row.make()
    return layer, *jax.jit(partial(layer.init, x=row.spec()))(jax.random.key(0))


@functools.cache
def applied(row: Row, train: bool):
    """``apply`` in that mode, jitted, and a list that grows with each trace."""
    traces = []

    def apply(params, state, x):
        traces.append(specs(x))
        return made(row)[0].apply(params, state, x, train=train, key=KEY)

    return jax.jit(apply), traces


@functools.cache
def modes(row: Row):
    """``train`` both ways; for a layer that computes the same in both, once."""
    layer, params, state = made(row)

    def program(train):
        return str(jax.make_jaxpr(partial(layer.apply, train=train))(params, state, row.x(), key=KEY))

    one, two = (re.sub(r"0x\w+", "", program(train)) for train in (False, True))
    return (True,) if one == two else (False, True)


def cast(tree, dtype):
    """The tree with its floating leaves in that dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def floats(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def total(y):
    """A smooth number that each entry of the outputs moves by another weight."""
    return sum(jnp.sum(jnp.sin(leaf) * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape))) for leaf in floats(y))


def with_floats(x, values):
    """``x`` with other floating leaves: what a gradient is taken in."""
    values = iter(values)
    return jax.tree.map(lambda leaf: next(values) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, x)


def assert_close(found, expected, **tolerance):
    jax.tree.map(partial(np.testing.assert_allclose, **tolerance), found, expected)


def paths(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): list(leaf.shape)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def test_every_public_layer_has_a_row():
    kinds = {row.make().kind for row in LAYERS}
    public = {
        name
        for module in (dl.layers, dl.combine)
        for name, value in vars(module).items()
        if hasattr(value, MAKES_A_LAYER)
    }
    assert public == kinds


def test_every_public_model_has_a_row_of_its_name():
    assert {name for name, value in vars(dl.models).items() if inspect.isfunction(value)} <= {r.name for r in MODELS}


@rows(ROWS, compiled=False)
def test_names_shapes_and_specs(row):
    layer = row.make()
    params, state = shaped(row)
    for tree in (params, state):
        assert isinstance(tree, dict)
        for path, _leaf in jax.tree.leaves_with_path(tree):
            assert all(isinstance(entry.key, str) and entry.key and not set("/*") & set(entry.key) for entry in path)
        assert not any(isinstance(subtree, dict) and not subtree for subtree in tree.values())
    # ``init`` reads shapes only, and ``build`` gives the same and the output's spec.
    assert jax.eval_shape(layer.init, jax.random.key(0), row.x()) == (params, state)
    y, new = jax.eval_shape(partial(layer.apply, train=False), params, state, row.x())
    outputs = []

    def built(key):
        *trees, output = build(layer, key, row.spec())
        outputs.append(specs(output))
        return tuple(trees)

    assert jax.eval_shape(built, jax.random.key(0)) == (params, state)
    assert new == state
    assert outputs == [y]


@every_row
def test_it_compiles_once_and_gives_finite_numbers(row):
    layer, params, state = made(row)
    for train in modes(row):
        jitted, traces = applied(row, train)
        traces.clear()
        jitted.clear_cache()
        with jax.checking_leaks():
            y, new = jitted(params, state, row.x())
        # What came out goes in again, as in training: it must fit the program that is there.
        jitted(params, new, row.x())
        assert len(traces) == 1
        assert specs(new) == specs(state)
        assert all(jnp.isfinite(leaf).all() for leaf in floats(y))
    if state:
        jax.tree.map(np.testing.assert_array_equal, applied(row, False)[0](params, state, row.x())[1], state)


@pytest.mark.slow
@every_row
def test_jit_equals_eager(row):
    layer, params, state = made(row)
    for train in modes(row):
        expected = layer.apply(params, state, row.x(), train=train, key=KEY)
        assert_close(applied(row, train)[0](params, state, row.x()), expected, rtol=1e-5, atol=1e-6)
        assert specs(expected[1]) == specs(state)


@pytest.mark.slow
@every_row
def test_vmap_over_parameters(row):
    layer, params, state = made(row)
    keys = jax.random.split(jax.random.key(5), 3)
    drawn = jax.eval_shape(jax.vmap(partial(layer.init, x=row.spec())), keys)
    assert drawn == jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((3, *leaf.shape), leaf.dtype), (params, state))
    # Three members that differ, each by a factor of its own.
    factors = np.array([1.0, 0.9, 1.1], np.float32)
    members = [cast(jax.tree.map(lambda leaf, f=f: leaf * f, (params, state)), jnp.float32) for f in factors]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    run = partial(layer.apply, train=True)
    found = jax.jit(jax.vmap(lambda p, s: run(p, s, row.x(), key=KEY)[0], axis_size=3))(*stacked)
    alone, _ = applied(row, True)
    for index, (params, state) in enumerate(members):
        pick = partial(jax.tree.map, lambda leaf, index=index: leaf[index])
        assert_close(pick(found), alone(params, state, row.x())[0], rtol=2e-5, atol=2e-6)


@pytest.mark.slow
@every_row
def test_remat_changes_nothing(row):
    layer, params, state = made(row)
    x = row.x()

    @jax.jit
    def gradients(params, parts):
        def objective(params, parts, apply):
            return total(apply(params, state, with_floats(x, parts), key=KEY)[0])

        plain = partial(layer.apply, train=True)
        return [jax.grad(objective, (0, 1))(params, parts, apply) for apply in (plain, jax.checkpoint(plain))]

    expected, found = gradients(params, floats(x))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


def finite_differences(row, train, order):
    with jax.enable_x64(True):
        layer = row.make()
        params, state = jax.jit(partial(layer.init, x=row.spec(dtype=jnp.float64)))(jax.random.key(0))
        params, state = cast((params, state), jnp.float64)
        x = row.x(dtype=jnp.float64)

        @jax.jit
        def output(params, parts):
            y = layer.apply(params, state, with_floats(x, parts), train=train, key=KEY)[0]
            return floats(y)

        assert all(leaf.dtype == jnp.float64 for leaf in output(params, floats(x)))
        check_grads(output, (params, floats(x)), order=order, modes=["rev"], eps=1e-5, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@floating_layers
def test_gradients_and_second_gradients_equal_finite_differences(row):
    for train in modes(row):
        finite_differences(row, train, order=row.order if train else 1)


@pytest.mark.slow
@floating_rows
def test_float_in_same_float_out(row):
    layer, params, state = made(row)
    apply, _ = applied(row, True)
    wide, _ = apply(params, state, row.x())
    for dtype in (jnp.bfloat16, jnp.float16):
        y, new = apply(cast(params, dtype), state, row.x(dtype=dtype))
        assert all(leaf.dtype == dtype for leaf in floats(y))
        assert specs(new) == specs(state)
        assert_close(cast(y, jnp.float32), wide, atol=0.1, rtol=0.1)


@pytest.mark.slow
@every_row
def test_an_empty_batch(row):
    layer, params, state = made(row)
    x = row.x(batch=0)

    @partial(jax.jit, static_argnums=1)
    @partial(jax.grad, has_aux=True)
    def gradient(params, train):
        y, new = layer.apply(params, state, x, train=train, key=KEY)
        return sum((leaf.sum() for leaf in floats(y)), start=0.0), (y, new)

    for train in modes(row):
        found, (y, new) = gradient(params, train)
        assert all(leaf.shape[row.batch_axis] == 0 for leaf in jax.tree.leaves(y))
        jax.tree.map(np.testing.assert_array_equal, new, state)
        assert all(not leaf.any() for leaf in jax.tree.leaves(found))


@rows(ROWS, compiled=False)
def test_made_alike_is_equal_and_prints_its_call(row):
    one, two = row.make(), row.make()
    assert one == two
    assert hash(one) == hash(two)
    assert repr(one) == repr(two)
    assert repr(one).startswith(one.kind + "(")
    assert "0x" not in repr(one)


@pytest.mark.slow
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


@pytest.mark.slow
@rows([r for r in ROWS if r.positionwise or r.ragged])
def test_padding_of_a_ragged_batch_changes_nothing(row):
    layer = row.make()
    lengths = jnp.array([3, 0, 4])
    shape = (3, 5) if row.classes else (3, 5, *row.shape[2 if row.ragged else -1 :])
    x = Row("", row.make, shape, row.classes).x()
    batch = dl.Ragged(x, lengths)
    params, state = jax.jit(layer.init)(jax.random.key(0), batch)
    real = batch.mask().reshape(3, 5, *[1] * (x.ndim - 2))
    noise = jnp.where(real, x, 1 if row.classes else 100.0 + x)

    @partial(jax.jit, static_argnums=3)
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def outcome(params, parts, x, train):
        y, new = layer.apply(params, state, dl.Ragged(with_floats(x, parts), lengths), train=train, key=KEY)
        if isinstance(y, dl.Ragged):
            y = jnp.where(real.reshape(3, 5, *[1] * (y.x.ndim - 2)), y.x, 0)
        return total(y), (y, new)

    for train in modes(row):
        (_, clean), gradient = outcome(params, floats(x), x, train)
        (_, noisy), gradient2 = outcome(params, floats(noise), noise, train)
        assert all(not jnp.where(real, 0, leaf).any() for leaf in gradient[1])
        assert_close((noisy, gradient2), (clean, gradient), rtol=1e-5, atol=1e-5)


def test_positionwise_layers_keep_the_lengths():
    batch = dl.Ragged(jnp.ones((2, 5, 3)), jnp.array([5, 2]))
    for row in ROWS:
        if row.positionwise and not row.classes:
            layer = row.make()
            x = dl.Ragged(jnp.ones((2, 5, row.shape[-1])), batch.lengths)
            y = jax.eval_shape(lambda key, layer=layer, x=x: layer.apply(*layer.init(key, x), x, train=False)[0], KEY)
            assert isinstance(y, dl.Ragged), row.name
            assert y.lengths.shape == (2,)


@pytest.mark.slow
@rows([r for r in ROWS if r.positionwise or r.decodes])
def test_piece_by_piece_equals_one_pass(row):
    layer = row.make()
    shape = (2, 6) if row.classes else (2, 6, row.shape[-1])
    x = Row("", row.make, shape, row.classes).x()
    params, state = jax.jit(layer.init)(jax.random.key(0), x)

    @jax.jit
    def both(params, x):
        first, cache = layer.prefill(params, state, x[:, :3], length=6)
        second, cache = layer.decode(params, cache, x[:, 3:4])
        third, _ = layer.decode(params, cache, x[:, 4:])
        return jnp.concatenate([first, second, third], axis=1), layer.apply(params, state, x, train=False)[0]

    found, expected = both(params, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_layers_that_mix_positions_refuse_ragged_batches_and_pieces():
    batch = dl.Ragged(jnp.ones((2, 5, 3)), jnp.array([5, 2]))
    for layer in (dl.layers.conv(4, 3), dl.layers.max_pool(2), dl.layers.flatten()):
        with pytest.raises(TypeError, match=rf"{layer.kind}.*must be an array: this layer mixes positions; got Ragged"):
            layer.init(jax.random.key(0), batch)
        with pytest.raises(TypeError, match=rf"{layer.kind}: a layer that reads a sequence piece by piece must say"):
            layer.prefill({}, {}, batch.x, length=5)


def test_parameter_paths_are_what_they_were():
    """A rename would break saved weights. On purpose? Write the file anew with ``python tests/test_contract.py``."""
    found = current_paths()
    assert found == json.loads(GOLDEN.read_text())


def current_paths():
    return {row.name: dict(zip(("params", "state"), map(paths, shaped(row)), strict=True)) for row in ROWS}


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(current_paths(), indent=1) + "\n")
