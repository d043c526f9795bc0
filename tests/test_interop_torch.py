"""PyTorch's state dicts as mappings of arrays: what is matched, how, and every error. Parity is in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.combine import lora, mixture_of_experts, repeat, tie, vmapped
from jaxdl.interop import from_torch, to_torch

X = jax.ShapeDtypeStruct((2, 3), np.float32)


def linear(name, inputs, outputs, seed=0):
    generator = np.random.default_rng(seed)
    return {
        f"{name}.weight": generator.normal(size=(outputs, inputs)).astype(np.float32),
        f"{name}.bias": generator.normal(size=outputs).astype(np.float32),
    }


def mlp():
    return dl.sequential(L.dense(4), jax.nn.relu, L.dense(4), jax.nn.relu, ("head", L.dense(4)))


STATE_DICT = {**linear("body.0", 3, 4, 1), **linear("body.2", 4, 4, 2), **linear("head", 4, 4, 3)}


def test_modules_fill_layers_in_order():
    params, state = from_torch(mlp(), X, STATE_DICT)
    assert state == {}
    assert list(params) == ["dense", "dense_1", "head"]
    for name, theirs in {"dense": "body.0", "dense_1": "body.2", "head": "head"}.items():
        np.testing.assert_array_equal(params[name]["kernel"], STATE_DICT[f"{theirs}.weight"].T)
        np.testing.assert_array_equal(params[name]["bias"], STATE_DICT[f"{theirs}.bias"])


def test_a_mapping_says_what_the_order_does_not():
    params, _ = from_torch(mlp(), X, STATE_DICT, modules={"dense_1": "head"})
    np.testing.assert_array_equal(params["dense_1"]["kernel"], STATE_DICT["head.weight"].T)
    np.testing.assert_array_equal(params["head"]["kernel"], STATE_DICT["body.2.weight"].T)
    twins = dl.sequential(("a", dl.sequential(L.dense(3), L.dense(3))), ("b", dl.sequential(L.dense(3), L.dense(3))))
    theirs = {k: v for i, name in enumerate(("x.0", "x.1", "y.0", "y.1")) for k, v in linear(name, 3, 3, i).items()}
    params, _ = from_torch(twins, X, theirs, modules={"a": "y", "b/dense_1": "x.0"})
    for path, name in {"a/dense": "y.0", "a/dense_1": "y.1", "b/dense": "x.1", "b/dense_1": "x.0"}.items():
        np.testing.assert_array_equal(dl.core.flat_paths(params)[f"{path}/bias"], theirs[f"{name}.bias"])
    there = to_torch(twins, X, params, {}, theirs, modules={"a": "y", "b/dense_1": "x.0"})
    assert list(there) == list(theirs)
    jax.tree.map(np.testing.assert_array_equal, there, theirs)


@pytest.mark.parametrize("prefix", ["", "module.", "ddp.module."])
def test_modules_of_the_same_names_fill_their_layers_in_any_order(prefix):
    model = dl.sequential(("enc", dl.sequential(("fc1", L.dense(3)), ("fc2", L.dense(3)))), ("out", L.dense(3)))
    names = ["out", "enc.fc2", "enc.fc1"]
    theirs = {k: v for i, name in enumerate(names) for k, v in linear(prefix + name, 3, 3, i).items()}
    params, _ = from_torch(model, X, theirs)
    for name in names:
        found = dl.core.flat_paths(params)[f"{name.replace('.', '/')}/bias"]
        np.testing.assert_array_equal(found, theirs[f"{prefix}{name}.bias"])
    jax.tree.map(np.testing.assert_array_equal, to_torch(model, X, params, {}, theirs), theirs)
    held = from_torch(model, X, theirs, modules={"enc": f"{prefix}enc"})[0]
    jax.tree.map(np.testing.assert_array_equal, held, params)


def test_a_module_that_has_the_name_of_another_layer_is_not_taken_by_order():
    model = dl.residual(L.dense(3), shortcut=L.dense(3))
    theirs = {**linear("shortcut", 3, 3, 1), **linear("body", 3, 3, 2)}
    needs = r'from_torch: dense "dense" must not take by order what has the name of another layer; got "shortcut", the'
    with pytest.raises(ValueError, match=needs + r" next that fits\. Did you mean modules="):
        from_torch(model, X, theirs)
    params, _ = from_torch(model, X, theirs, modules={"dense": "body"})
    np.testing.assert_array_equal(params["shortcut"]["bias"], theirs["shortcut.bias"])
    counted = dl.sequential(L.dense(3), L.dense(3))  # dense, dense_1
    theirs = {**linear("dense_1", 3, 3, 1), **linear("dense_2", 3, 3, 2)}
    with pytest.raises(ValueError, match=r'got "dense_1", the next that fits'):
        from_torch(counted, X, theirs)
    assert "dense_1" in from_torch(counted, X, theirs, modules={"dense": "dense_1"})[0]
    members = repeat(dl.sequential(("fc", L.dense(3))), 2)  # whose paths are all "fc": by order
    theirs = {**linear("first", 3, 3, 1), **linear("fc", 3, 3, 2)}
    np.testing.assert_array_equal(from_torch(members, X, theirs)[0]["fc"]["bias"][1], theirs["fc.bias"])


def test_arrays_are_copies_that_torch_can_own():
    params, state = from_torch(mlp(), X, STATE_DICT)
    for array in to_torch(mlp(), X, params, state, STATE_DICT).values():
        assert isinstance(array, np.ndarray)
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_dtypes_stay():
    with jax.enable_x64(True):
        wide = {name: array.astype(np.float64) for name, array in linear("0", 3, 4).items()}
        params, _ = from_torch(L.dense(4), X, wide)
        assert params["kernel"].dtype == np.float64
        assert to_torch(L.dense(4), X, params, {}, wide)["0.weight"].dtype == np.float64
    narrow = {name: array.astype(jnp.bfloat16) for name, array in linear("0", 3, 4).items()}
    assert from_torch(L.dense(4), X, narrow)[0]["kernel"].dtype == jnp.bfloat16


def test_members_of_a_stack_are_modules_of_their_own():
    block = dl.sequential(L.dense(3), jnp.tanh, L.dense(3))
    theirs = {k: v for i in range(2) for j in range(2) for k, v in linear(f"{i}.{j}", 3, 3, 2 * i + j).items()}
    for stack in (repeat(block, 2), vmapped(block, 2), repeat(repeat(dl.sequential(L.dense(3)), 2), 2)):
        params, _ = from_torch(stack, X, theirs)
        like, _ = jax.eval_shape(stack.init, jax.random.key(0), X)
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, like)
        flat = dl.core.flat_paths(params)
        if "dense_1/bias" in flat:
            np.testing.assert_array_equal(flat["dense_1/bias"], [theirs["0.1.bias"], theirs["1.1.bias"]])
        else:
            np.testing.assert_array_equal(flat["dense/bias"][1, 0], theirs["1.0.bias"])
        there = to_torch(stack, X, params, {}, theirs)
        jax.tree.map(np.testing.assert_array_equal, there, theirs)


def test_extra_losses_begin_at_zero():
    model = mixture_of_experts(L.dense(3), 2)
    theirs = {"gate.weight": np.ones((2, 3)), **linear("experts.0", 3, 3), **linear("experts.1", 3, 3, 1)}
    params, state = from_torch(model, X, theirs)
    like = jax.eval_shape(model.init, jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, (params, state)) == jax.tree.map(jnp.shape, like)
    assert state["aux_loss"] == 0


def test_a_tied_copy_is_left_out():
    model = tie(
        dl.sequential(("words", L.embedding(5, 3)), ("logits", L.attend(5))), {"logits/embedding": "words/embedding"}
    )
    ids = jax.ShapeDtypeStruct((2, 4), np.int32)
    params, _ = from_torch(model, ids, {"words.weight": np.ones((5, 3), np.float32)})
    assert jax.tree.map(jnp.shape, params) == {"words": {"embedding": (5, 3)}}


def test_a_tied_kernel_of_a_recurrent_layer_has_no_counterpart():
    model = tie(dl.sequential(L.lstm(3), L.lstm(3)), {"lstm_1/kernel": "lstm/kernel"})
    with pytest.raises(
        ValueError, match="lstm \"lstm_1\" must have 'kernel' of its own, not tied; got bias, recurrent"
    ):
        from_torch(model, jax.ShapeDtypeStruct((2, 5, 3), np.float32), LSTM_OF_THREE)


def test_the_gate_of_a_feed_forward_stands_first():
    """As Llama's gate_proj, up_proj, down_proj, and its w1, w2, w3."""
    layer = L.feed_forward(6, gated=True, use_bias=False)
    arrays = [np.full(shape, i, np.float32) for i, shape in enumerate([(6, 3), (6, 3), (3, 6)])]
    params, _ = from_torch(layer, X, dict(zip(["gate.weight", "up.weight", "down.weight"], arrays, strict=True)))
    assert {name: float(part["kernel"][0, 0]) for name, part in params.items()} == {"gate": 0, "up": 1, "down": 2}


LSTM = {"rnn.weight_ih_l0": (16, 3), "rnn.weight_hh_l0": (16, 4), "rnn.bias_ih_l0": (16,), "rnn.bias_hh_l0": (16,)}


LSTM_OF_THREE = {
    "rnn.weight_ih_l0": np.ones((12, 3)),
    "rnn.weight_hh_l0": np.ones((12, 3)),
    "rnn.bias_ih_l0": np.ones(12),
    "rnn.bias_hh_l0": np.ones(12),
}


def test_two_biases_are_one():
    theirs = {name: np.full(shape, 1.5, np.float32) for name, shape in LSTM.items()}
    x = jax.ShapeDtypeStruct((2, 5, 3), np.float32)
    params, _ = from_torch(L.lstm(4), x, theirs)
    np.testing.assert_array_equal(params["bias"], np.full(16, 3))
    there = to_torch(L.lstm(4), x, params, {}, theirs)
    np.testing.assert_array_equal(there["rnn.bias_ih_l0"], np.full(16, 3))
    np.testing.assert_array_equal(there["rnn.bias_hh_l0"], np.zeros(16))


@dl.stateless
def mine():
    return lambda key, x: {"w": jnp.ones(())}, lambda params, x: x * params["w"]


ERRORS = {
    "a wrong shape": (
        lambda: from_torch(L.dense(5), X, linear("fc", 3, 4)),
        r'from_torch: dense needs a module with weight\[5, 3\], bias\[5\]; got module "fc" with weight\[4, 3\], '
        r"bias\[4\]\. Did you mean modules=",
    ),
    "a wrong shape in a model": (
        lambda: from_torch(dl.sequential(("body", dl.sequential(L.dense(5)))), X, linear("fc", 3, 4)),
        r'from_torch: dense "body/dense" needs a module with weight\[5, 3\], bias\[5\]; got module "fc"',
    ),
    "a bias that the layer lacks": (
        lambda: from_torch(L.dense(4, use_bias=False), X, linear("fc", 3, 4)),
        r'dense needs a module with weight\[4, 3\]; got module "fc" with weight\[4, 3\], bias\[4\]',
    ),
    "too few modules": (
        lambda: from_torch(mlp(), X, dict(list(STATE_DICT.items())[:4])),
        r'from_torch: dense "head" needs a module with weight\[4, 4\], bias\[4\]; got none that is left',
    ),
    "too many modules": (
        lambda: from_torch(L.dense(4), X, {**linear("a", 3, 4), **linear("b", 4, 4)}),
        r'from_torch: every module must fill a layer of the model \(dense\); got module "b" with weight\[4, 4\]',
    ),
    "a model without parameters": (
        lambda: from_torch(L.flatten(), X, linear("a", 3, 4)),
        r"every module must fill a layer of the model \(none\); got module",
    ),
    "no such path": (
        lambda: from_torch(mlp(), X, STATE_DICT, modules={"haed": "head"}),
        r"from_torch: modules: 'haed' must be a path; got one such as head",
    ),
    "no such module": (
        lambda: from_torch(mlp(), X, STATE_DICT, modules={"head": "haed"}),
        r"from_torch: modules: 'haed' must be a module; got one such as head",
    ),
    "parameters of another model": (
        lambda: to_torch(L.dense(4), X, {"kernel": np.ones((2, 4))}, {}, linear("fc", 3, 4)),
        r'to_torch: the array at "(bias|kernel)" must have shape',
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_name_both_sides(call, message):
    with pytest.raises(ValueError, match=message):
        call()


KINDS = {
    "a layer of one's own": (mine(), X, r"from_torch: mine must be of a kind that has a counterpart; got one of dense"),
    "an adapted layer": (lora(L.dense(4), 2), X, r"from_torch: lora\(dense\) must be of a kind that has a counterpart"),
}


@pytest.mark.parametrize(("layer", "x", "message"), KINDS.values(), ids=KINDS)
def test_a_kind_without_a_counterpart(layer, x, message):
    with pytest.raises(TypeError, match=message):
        from_torch(layer, x, linear("fc", 3, 4))


def test_a_reset_gate_before_the_product_is_not_pytorchs():
    with pytest.raises(ValueError, match=r"gru: PyTorch applies the reset gate after the product; got gru\(features=4"):
        from_torch(L.gru(4, reset="before"), jax.ShapeDtypeStruct((2, 5, 3), np.float32), {})


def test_a_module_in_place_of_its_state_dict():
    with pytest.raises(TypeError, match=r"names to arrays; got object\. Did you mean module.state_dict\(\)\?"):
        from_torch(L.dense(4), X, object())
