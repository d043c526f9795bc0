"""Records, names, keys, specs, path notes."""

import traceback
from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.core import build, child_key, combinator

KEY = jax.random.key(0)


def test_the_error_of_the_north_star():
    model = dl.sequential(("stem", dl.sequential(L.conv(32, 3), jax.nn.relu)), L.flatten())
    with pytest.raises(ValueError) as caught:
        model.init(KEY, jnp.ones((32, 784)))
    assert "".join(traceback.format_exception_only(caught.value)).splitlines()[:2] == [
        "ValueError: conv(features=32, kernel_size=3): input must have a channel axis last and 1 or more spatial axes "
        "(batch, …, channels); got float32[32,784]. Did you mean x.reshape(32, 28, 28, 1)?",
        '  in sequential "stem/conv", input float32[32,784]',
    ]


def test_a_path_is_noted_once_and_names_both_shapes():
    model = dl.sequential(("encoder", dl.residual(L.dense(4), ("inner", dl.sequential(L.dense(3))))))
    with pytest.raises(ValueError, match=r"residual: f\(x\) must have the shape of the shortcut, float32\[2,4\]") as e:
        model.init(KEY, jnp.ones((2, 4)))
    assert [note for note in e.value.__notes__ if "in sequential" in note] == [
        '  in sequential "encoder", input float32[2,4]'
    ]
    params, state = dl.sequential(("a", dl.sequential(("b", L.dense(3))))).init(KEY, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"dense\(features=3\): kernel must have shape \(5, features\)") as e:
        apply = jax.jit(partial(dl.sequential(("a", dl.sequential(("b", L.dense(3))))).apply, train=False))
        apply(params, state, jnp.ones((2, 5)))
    assert [note for note in e.value.__notes__ if "in sequential" in note] == [
        '  in sequential "a/b", input float32[2,5]'
    ]


def test_repr_is_the_constructor_call():
    model = dl.sequential(
        L.conv(32, 3), jax.nn.relu, partial(jax.nn.leaky_relu, negative_slope=0.1), ("head", L.dense(10))
    )
    assert repr(model) == (
        "sequential(\n"
        "    conv(features=32, kernel_size=3),\n"
        "    relu,\n"
        "    partial(leaky_relu, negative_slope=0.1),\n"
        "    ('head', dense(features=10)),\n"
        ")"
    )
    assert repr(dl.sequential(dl.residual(L.dense(3)))) == "sequential(residual(dense(features=3)))"
    nested = dl.sequential(model, L.dense(2))
    assert "\n        conv(features=32, kernel_size=3),\n" in repr(nested)


def test_closures_of_a_library_are_equal_when_made_alike():
    def dense(init):
        return dl.layers.dense(3, kernel_init=init)

    initializers = jax.nn.initializers
    for make in (initializers.he_normal, initializers.orthogonal, lambda: initializers.normal(0.1)):
        assert dense(make()) == dense(make())
        assert hash(dense(make())) == hash(dense(make()))
    assert dense(initializers.normal(0.1)) != dense(initializers.normal(0.2))
    assert dense(initializers.he_normal()) != dense(initializers.he_uniform())

    def around(function):
        return lambda *arguments: function(*arguments)

    assert dense(around(around(len))) != dense(around(around(len)))  # closures in closures: each like itself alone
    one = around(around(len))
    assert dense(one) == dense(one)


def test_layers_built_alike_are_equal_and_others_are_not():
    assert L.conv(32, 3) == L.conv(features=32, kernel_size=3)
    assert L.conv(32, [3, 3]) == L.conv(32, (3, 3))
    assert L.dense(3) == L.dense(3, use_bias=True), "a default that is written out"
    assert repr(L.dense(3)) == "dense(features=3)"
    assert L.dense(3) != L.dense(4)
    assert L.dense(3) != L.dense(3, use_bias=False)
    assert dl.sequential(L.dense(3), partial(jnp.clip, min=0)) == dl.sequential(L.dense(3), partial(jnp.clip, min=0))
    assert dl.sequential(L.dense(3), partial(jnp.clip, min=0)) != dl.sequential(L.dense(3), partial(jnp.clip, min=1))

    def scaled():
        @dl.stateless
        def scale(by):
            return (lambda key, x: {}), (lambda params, x: x * by)

        return scale

    first, second = scaled(), scaled()
    assert first(2) == first(2)
    assert first(2) != second(2), "two constructors of one name are not the same"
    assert first(1) != first(1.0)
    assert first(True) != first(1)
    table = np.ones(3)
    assert first(table) == first(table)
    assert first(table) != first(np.ones(3))
    assert {first(2), first(2), first(3)} == {first(2), first(3)}


def test_names_come_from_kinds_or_pairs():
    model = dl.sequential(L.dense(2), L.dense(2), ("dense_5", L.dense(2)), jnp.tanh, lambda x: x, L.dense(2))
    params, _ = model.init(KEY, jnp.ones((1, 2)))
    assert list(params) == ["dense", "dense_1", "dense_5", "dense_2"]
    with pytest.raises(ValueError, match=r"names of children must differ; got dense more than once in \['dense', 'tan"):
        dl.sequential(("dense", L.dense(2)), jnp.tanh, L.dense(2))
    for name in ("", "a/b", "*"):
        with pytest.raises(ValueError, match="a name must be a non-empty str without '/' and"):
            dl.sequential((name, L.dense(2)))


def test_appending_or_naming_a_layer_changes_no_other_initial_value():
    x = jnp.ones((1, 2))
    before, _ = dl.sequential(L.dense(3), jnp.tanh, L.dense(4)).init(KEY, x)
    appended, _ = dl.sequential(L.dense(3), jnp.tanh, L.dense(4), L.dense(5)).init(KEY, x)
    inserted, _ = dl.sequential(L.dense(3), ("new", L.dense(3)), jnp.tanh, L.dense(4)).init(KEY, x)
    for after in (appended, inserted):
        for name in before:
            jax.tree.map(np.testing.assert_array_equal, before[name], after[name])
    assert not np.array_equal(appended["dense_1"]["kernel"][:, :3], appended["dense"]["kernel"])


def test_a_sublayer_is_found_where_its_parameters_stand():
    inner = dl.sequential(L.dense(2), ("last", L.dense(3)))
    shortcut = L.dense(3)
    model = dl.remat(
        dl.sequential(
            ("pair", dl.encoder_decoder(dl.remat(inner), dl.parallel(L.dense(3), L.dense(3)))),
            ("sum", dl.parallel(dl.residual(inner, shortcut=shortcut), dl.repeat(L.dense(3), 2))),
        )
    )
    x = jnp.ones((1, 3))
    params, _ = model.init(KEY, (x, x))
    for path, expected, width in (
        ("pair/encoder", dl.remat(inner), 3),
        ("pair/encoder/last", L.dense(3), 2),
        ("pair/decoder/dense_1", L.dense(3), 3),
        ("sum/residual/sequential/dense", L.dense(2), 3),
        ("sum/residual/shortcut", shortcut, 3),
    ):
        layer = dl.sublayer(model, path)
        assert layer == expected
        subtree = params
        for name in path.split("/"):
            subtree = subtree[name]
        assert layer.apply(subtree, {}, jnp.ones((1, width)), train=False)[0].shape[0] == 1
    # What repeat makes two of has stacked parameters, which no layer takes.
    for path, text in (
        ("pair/encode", r"path must name children of encoder_decoder \(encoder, decoder\); got 'pair/encode'"),
        ("sum/repeat/layer", r"children of repeat \(it has none\)"),
        ("sum/residual/shortcut/kernel", r"children of dense \(it has none\)"),
        (3, 'path must be a str, such as "encoder/dense"; got 3'),
    ):
        with pytest.raises(ValueError, match=rf"sublayer: .*{text}"):
            dl.sublayer(model, path)


@pytest.mark.parametrize("kind", ["tie", "lora", "weight_norm", "spectral_norm"])
def test_no_sublayer_is_taken_out_of_a_wrapper_that_changes_parameters(kind):
    inner = dl.sequential(("one", L.dense(3)), ("two", L.dense(3)))
    options = {"tie": ({"two/kernel": "one/kernel"},), "lora": (2,)}.get(kind, ())
    wrapped = getattr(dl, kind)(inner, *options)
    model = dl.remat(dl.sequential(("wrapped", dl.remat(wrapped))))
    x = jnp.ones((1, 3))
    params, state = model.init(KEY, x)
    found = dl.sublayer(model, "wrapped")  # the wrapper itself has all that it needs
    assert found.apply(params["wrapped"], state.get("wrapped", {}), x, train=False)[0].shape == (1, 3)
    message = rf"sublayer: path must not lead into {kind}, which makes .* got 'wrapped/two'\. Did you mean"
    with pytest.raises(ValueError, match=message):
        dl.sublayer(model, "wrapped/two")


def test_keys_come_from_crc32_of_names():
    expected = jax.random.fold_in(KEY, np.uint32(0xA8D3E165))
    assert (child_key(KEY, "dense") == jax.random.fold_in(KEY, np.uint32(__import__("zlib").crc32(b"dense")))).all()
    assert child_key(None, "dense") is None
    assert expected.shape == ()


def test_dropout_masks_differ_between_layers_and_repeat_with_the_key():
    model = dl.sequential(L.dropout(0.5), ("second", L.dropout(0.5)))
    alone, _ = dl.sequential(L.dropout(0.5)).apply({}, {}, jnp.ones(64), train=True, key=KEY)
    other, _ = dl.sequential(("second", L.dropout(0.5))).apply({}, {}, jnp.ones(64), train=True, key=KEY)
    again, _ = dl.sequential(L.dropout(0.5)).apply({}, {}, jnp.ones(64), train=True, key=KEY)
    assert not np.array_equal(alone, other)
    np.testing.assert_array_equal(alone, again)
    both, _ = model.apply({}, {}, jnp.ones(64), train=True, key=KEY)
    np.testing.assert_array_equal(both, alone * other)


def test_nesting_costs_linear_time():
    looks = 0

    def counted(x):
        nonlocal looks
        looks += 1
        return x

    def nest(depth):
        model = dl.sequential(counted)
        for _ in range(depth):
            model = dl.residual(dl.sequential(model, counted))
        return model

    build(nest(16), KEY, jnp.ones((1, 2)))
    assert looks == 17


def test_a_frozen_dataclass_is_a_layer():
    @dataclass(frozen=True)
    class Shift:
        by: float

        def init(self, key, x):
            return {"shift": jnp.full(x.shape[-1:], self.by)}, {}

        def apply(self, params, state, x, *, train, key=None):
            return x + params["shift"][None], state

    model = dl.sequential(L.dense(2), Shift(1.0), Shift(2.0))
    params, state = model.init(KEY, jnp.ones((1, 2)))
    assert list(params) == ["dense", "Shift", "Shift_1"]
    assert model.apply(params, state, jnp.ones((3, 2)), train=False)[0].shape == (3, 2)
    assert "Shift(by=1.0)" in repr(model)


def test_what_is_no_layer_is_refused_with_a_word():
    with pytest.raises(
        TypeError, match=r"got flax\.linen.*Dense, a module that keeps its parameters in its own way.*jaxdl\.interop"
    ):
        dl.sequential(nn.Dense(3))
    with pytest.raises(TypeError, match="each child must be a layer, a function of arrays, or a"):
        dl.sequential(3)
    with pytest.raises(TypeError, match=r"each child must be a layer.*Did you mean flatten\(…\)\?"):
        dl.sequential(L.flatten)


def test_names_of_leaves_are_checked():
    @dl.stateless
    def sloppy():
        return (lambda key, x: {"a/b": jnp.ones(2)}), (lambda params, x: x)

    with pytest.raises(ValueError, match="sloppy: a name must be a non-empty str without '/' and '\\*'; got 'a/b'"):
        dl.sequential(sloppy()).init(KEY, jnp.ones((1, 2)))


def test_ragged_batches_are_described_by_shape():
    with pytest.raises(TypeError) as caught:
        dl.sequential(L.flatten()).init(KEY, dl.Ragged(jnp.ones((2, 5, 3)), jnp.array([5, 2])))
    assert "got Ragged(x=float32[2,5,3], lengths=int32[2])" in str(caught.value)
    assert '  in sequential "flatten", input Ragged(x=float32[2,5,3], lengths=int32[2])' in caught.value.__notes__


def test_a_function_of_a_ragged_batch_gives_zeros_at_padding_and_keeps_batch_and_time():
    batch = dl.Ragged(jnp.full((2, 3, 4), jnp.e).at[1, 1:].set(0), jnp.array([3, 1]))

    def parts(x):
        return jnp.log(x), x[..., 0] > 0

    logs, positive = dl.sequential(parts).apply({}, {}, batch, train=False)[0].x
    np.testing.assert_allclose(logs, jnp.broadcast_to(batch.mask()[:, :, None], (2, 3, 4)), rtol=1e-6)
    np.testing.assert_array_equal(positive, batch.mask())
    needs = r"sequential\(sum\): a function of a ragged batch must keep its batch and time, sum here; got float32\[\]"
    with pytest.raises(ValueError, match=needs):
        dl.sequential(jnp.sum).apply({}, {}, batch, train=False)


def test_apply_must_return_two_results():
    @dl.layer
    def careless():
        return (lambda key, x: ({}, {})), (lambda params, state, x, *, train, key=None: x)

    with pytest.raises(TypeError, match=r"careless\(\): apply must return two results, \(y, state\)"):
        careless().apply({}, {}, jnp.ones(3), train=False)


def unchanged(params, state, x, *, train, key=None):
    return x, state


def test_a_layer_of_ones_own_is_told_what_init_must_return():
    @dl.layer
    def no_state():
        return (lambda key, x: {"w": jnp.ones(2)}), unchanged

    @dl.stateless
    def with_state():
        return (lambda key, x: ({}, {})), (lambda params, x: x)

    @dataclass(frozen=True)
    class Own:
        apply = staticmethod(unchanged)

        def init(self, key, x):
            return {"kernel": jnp.ones(2), "bias": jnp.ones(2)}

    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    needs = (
        r": init must return two results, \(params, state\), where state is a dict; got \{.*\}. Did you mean \(params"
    )
    for own, call in ((no_state(), r"no_state\(\)"), (Own(), "Own")):
        with pytest.raises(TypeError, match=call + needs) as caught:
            dl.sequential(("own", own)).init(jax.random.key(0), x)
        assert 'in sequential "own"' in caught.value.__notes__[0]
    with pytest.raises(TypeError, match=r"with_state\(\): init of a stateless layer must return the params alone"):
        with_state().init(jax.random.key(0), x)


@pytest.mark.parametrize("read", [lambda x: x.mean(), lambda x: jnp.mean(x), lambda x: x * 2.0, lambda x: float(x)])
def test_an_init_that_looks_for_values_in_a_spec_is_told_that_there_are_none(read):
    @dl.layer
    def values():
        return (lambda key, x: ({"w": read(x)}, {})), unchanged

    @dataclass(frozen=True)
    class Own:
        apply = staticmethod(unchanged)

        def init(self, key, x):
            return {"w": read(x)}, {}

    for own, call in ((values(), "values()"), (Own(), "Own")):
        with pytest.raises((AttributeError, TypeError), match="ShapeDtypeStruct") as caught:
            dl.sequential(("own", own)).init(jax.random.key(0), jnp.ones((2, 3)))
        told = [note for note in caught.value.__notes__ if "init is to read x.shape and x.dtype alone" in note]
        assert [note.partition(":")[0].strip() for note in told] == [call]


def test_a_constructor_is_told_what_it_must_return():
    def init(key, x):
        return {}, {}

    for make, made, needs in (
        (dl.layer, init, r"must return two functions, \(init, apply\)"),
        (dl.layer, (init, None), r"must return two functions, \(init, apply\)"),
        (dl.layer, (init, unchanged, "nonsense"), r"must return \(init, apply\) or \(init, apply, Decoding\)"),
        (dl.stateless, (init, unchanged, None), r"must return \(init, apply\)"),
        (combinator, (init, 3), r"must return two functions, \(build, apply\)"),
    ):

        def own(made=made):
            return made

        with pytest.raises(TypeError, match=rf"own\(.*\): a layer's constructor {needs}"):
            make(own)()


def test_constructors_check_their_arguments():
    for make, text in [
        (lambda: L.dense(0), r"dense\(features=0\): features must be a positive int; got 0"),
        (lambda: L.dense(True), "features must be a positive int; got True"),
        (lambda: L.conv(4, 0), r"conv\(features=4, kernel_size=0\): kernel_size must be a positive int; got 0"),
        (lambda: L.conv(4, 3, groups=3), "features must be a multiple of groups; got 4 and 3"),
        (lambda: L.conv(4, 3, strides=(1, -1)), "strides must be a positive int; got -1"),
        (lambda: L.dropout(1.0), r"dropout\(rate=1.0\): rate must be a number from 0 up to, but not including, 1"),
        (lambda: L.dropout(-0.1), "rate must be a number from 0"),
        (lambda: L.max_pool("2"), "window must be a positive int"),
        (lambda: L.batch_norm(momentum=2.0), "momentum must be a number from 0"),
        (lambda: L.batch_norm(epsilon=0), "epsilon must be a positive number"),
    ]:
        with pytest.raises(ValueError, match=text):
            make()
    with pytest.raises(TypeError, match=r"dense\(\) missing 1 required positional argument: 'features'"):
        L.dense()
    with pytest.raises(TypeError, match=r"dense\(\) got an unexpected keyword argument 'name'"):
        L.dense(3, name="a")


def test_layers_check_their_inputs():
    for layer, x, kind, text in [
        (
            L.dense(3),
            jnp.ones((2, 4), int),
            TypeError,
            r"input must be a floating array; got int32\[2,4\]. Did you mean",
        ),
        (L.conv(3, 3), jnp.ones((2, 8, 8, 3), int), TypeError, r"input.astype\(jnp.float32\)"),
        (L.conv(3, 3), jnp.ones((2, 3072)), ValueError, r"Did you mean x.reshape\(2, 32, 32, 3\)\?"),
        (L.conv(3, 3), jnp.ones((2, 100, 7)[:2]), ValueError, r"Did you mean x.reshape\(2, 10, 10, 1\)\?"),
        (L.conv(4, 3, groups=2), jnp.ones((2, 8, 8, 3)), ValueError, "channels must be a multiple of groups=2"),
        (
            L.conv(4, (3, 3)),
            jnp.ones((2, 8, 3)),
            ValueError,
            "kernel_size must be an int or 1 ints, one for each spatial",
        ),
        (L.conv(4, 9), jnp.ones((2, 8, 8, 3)), ValueError, r"the window, which spans \(9, 9\) positions, must fit"),
        (
            L.conv(4, 3, padding="FULL"),
            jnp.ones((2, 8, 8, 3)),
            ValueError,
            'padding must be "VALID", "SAME", "CAUSAL", an int',
        ),
        (L.max_pool(2), jnp.ones((2, 8)), ValueError, "max_pool.*must have a channel axis last"),
        (L.batch_norm(), jnp.ones(3), ValueError, r"batch_norm\(\): input must have a batch axis and a channel axis"),
        (L.dense(3), jnp.ones(()), ValueError, "input must have at least one axis"),
    ]:
        with pytest.raises(kind, match=text):
            build(layer, KEY, x)
    params, state = L.conv(4, 3).init(KEY, jnp.ones((1, 8, 8, 3)))
    with pytest.raises(
        ValueError, match=r"input must have 3 channels for kernel float32\[3,3,3,4\], groups=1; got float"
    ):
        L.conv(4, 3).apply(params, state, jnp.ones((1, 8, 8, 1)), train=False)
    with pytest.raises(ValueError, match=r"dropout\(rate=0.5\): train=True needs a key; got None"):
        L.dropout(0.5).apply({}, {}, jnp.ones(3), train=True)
    with pytest.raises(TypeError, match="train must be True or False; got 1"):
        L.dropout(0.5).apply({}, {}, jnp.ones(3), train=1)


def test_the_mask_of_a_ragged_batch_has_as_many_axes_as_asked_for():
    batch = dl.Ragged(jnp.ones((2, 3, 4, 5)), jnp.array([2, 0]))
    assert batch.mask().tolist() == [[True, True, False], [False] * 3]
    np.testing.assert_array_equal(batch.mask(4), batch.mask()[..., None, None])


def test_a_parameter_that_is_not_there_is_told_beside_those_that_are():
    model = dl.sequential(("stem", dl.sequential(L.dense(3))), L.dense(2))
    x = jnp.ones((1, 4))
    params, state = model.init(jax.random.key(0), x)
    with pytest.raises(KeyError, match="'kernel'") as caught:
        model.apply({**params, "stem": {"dens": params["stem"]["dense"]}}, state, x, train=False)
    assert caught.value.__notes__ == [
        "  dense(features=3) was given the params {} and the state {}",
        '  in sequential "stem/dense", input float32[1,4]',
    ]
