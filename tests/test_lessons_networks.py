"""The course's later lessons: what their scripts compute, beside NumPy in float64 or by hand, on tiny arrays."""

import importlib
import json
from argparse import Namespace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, log_expit, softmax
from scripts import ROOT

import jaxdl as dl
from jaxdl import layers as L

KEY = jax.random.key(0)


@pytest.fixture
def script(monkeypatch):
    """A script of the course as a module."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


@pytest.fixture
def figures(script, monkeypatch):
    """The figures that a script draws, in their order."""
    course, kept = script("course"), []
    make = course.figure
    monkeypatch.setattr(course, "figure", lambda *size: kept.append(make(*size)) or kept[-1])
    return kept


def drawn(model, x, seed=0):
    """Parameters in float64, none of them zero, and a state of zeros. Nothing is compiled for them."""
    params, state = jax.eval_shape(model.init, KEY, x)
    random = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape), params)
    return params, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)


def trained(params, state=None):
    return dl.train.TrainState(jnp.zeros((), jnp.int32), params, state or {}, None, KEY)


def linear(p, x):
    return x @ p["kernel"] + p["bias"]


def relu(x):
    return np.maximum(x, 0)


# Texts that are in the test part


def test_unseen_drops_the_texts_of_the_test_part_and_the_second_of_two_alike(script):
    part = {"x": ["b", "in test", "a", "b", "c", "In test", "in test"], "y": np.array([0, 1, 2, 3, 4, 5, 6])}
    test = {"x": ["in test", "d"], "y": np.array([1, 1])}
    left = script("course").unseen(part, test)
    assert left["x"] == ["b", "a", "c", "In test"]
    np.testing.assert_array_equal(left["y"], [0, 2, 4, 5])
    assert part["x"][1] == "in test"


# Lesson 7: a residual network


def rates(optimizer, steps):
    """The rate of each step, from the updates of one number whose gradient is 1, by Nesterov's momentum of 0.9."""
    state, speed, found = optimizer.init({"bias": jnp.zeros(1)}), 0.0, []
    update = jax.jit(optimizer.update)
    for _ in range(steps + 1):
        change, state = update({"bias": jnp.ones(1)}, state, {"bias": jnp.ones(1)})
        speed = 0.9 * speed + 1
        found.append(-float(change["bias"][0]) / (1 + 0.9 * speed))
    return np.array(found)


def test_one_cycle_rises_for_a_fifth_of_the_steps_and_falls_to_nothing_along_a_cosine(script, x64):
    optimizer = script("07_resnet").one_cycle(Namespace(learning_rate=0.3, weight_decay=0.01), 40)
    rise = 0.3 * np.arange(8) / 8
    fall = 0.3 * (1 + np.cos(np.pi * np.arange(33) / 32)) / 2
    np.testing.assert_allclose(rates(optimizer, 40), [*rise, *fall], rtol=1e-5, atol=1e-8)


def test_one_cycle_decays_kernels_and_neither_norms_nor_biases(script):
    optimizer = script("07_resnet").one_cycle(Namespace(learning_rate=0.3, weight_decay=0.01), 10)
    model = dl.models.resnet_cifar(8, width=2)
    params, _ = jax.eval_shape(model.init, KEY, jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32))
    params, still = (jax.tree.map(lambda leaf, v=v: np.full(leaf.shape, v, np.float32), params) for v in (1, 0))

    @jax.jit
    def second(params, still):
        _, state = optimizer.update(still, optimizer.init(params), params)  # at rate 0
        return optimizer.update(still, state, params)[0]

    # Momentum has seen the decay twice: 0.15 · (0.01 + 0.9 · (0.01 + 0.9 · 0.01)).
    for path, leaf in jax.tree.leaves_with_path(second(params, still)):
        lost = 0.15 * 0.01 * (1 + 0.9 * 1.9) if path[-1].key == "kernel" else 0
        np.testing.assert_allclose(leaf, -lost, rtol=1e-5, err_msg=jax.tree_util.keystr(path))


def shifts(image, most):
    padded = np.pad(image, [(most, most), (most, most), (0, 0)])
    height, width, _ = image.shape
    places = range(2 * most + 1)
    return np.stack([padded[i : i + height, j : j + width] for i in places for j in places])


def test_digits_are_shifted_by_a_pixel_and_never_mirrored(script):
    augment = script("07_resnet").augmentation("digits", 0)
    image = np.random.default_rng(0).uniform(1, 2, (8, 8, 1)).astype(np.float32)
    batch = {"x": jnp.tile(image, (200, 1, 1, 1)), "y": jnp.arange(200)}
    found = jax.jit(augment)(batch, KEY)
    np.testing.assert_array_equal(found["y"], batch["y"])
    same = (np.asarray(found["x"])[:, None] == shifts(image, 1)).all((2, 3, 4))
    assert same.any(1).all()
    assert same.any(0).all()
    assert augment(batch, None) is batch


def test_photographs_are_shifted_mirrored_and_covered(script):
    augment = script("07_resnet").augmentation("cifar10_subset", 0)
    image = np.random.default_rng(0).uniform(1, 2, (16, 16, 3)).astype(np.float32)
    batch = {"x": jnp.tile(image, (100, 1, 1, 1)), "y": jnp.arange(100)}
    found = np.asarray(jax.jit(augment)(batch, KEY)["x"])
    # What is covered is 0, in a square of 8 at most, and tells nothing of the image below.
    covered = (found == 0).all(-1)
    assert (covered.sum((1, 2)) >= 16).all()

    def fits(candidates):
        return np.array([((one == candidates) | (one == 0)).all((1, 2, 3)).any() for one in found])

    as_it_was, mirrored = fits(shifts(image, 4)), fits(shifts(image[:, ::-1], 4))
    assert (as_it_was ^ mirrored).all()
    assert 30 < mirrored.sum() < 70


def test_mixup_makes_labels_soft_where_it_is_asked_for(script):
    batch = {"x": jax.ShapeDtypeStruct((6, 8, 8, 1), jnp.float32), "y": jax.ShapeDtypeStruct((6,), jnp.int32)}
    for alpha, shape in ((0, (6,)), (0.4, (6, 10))):
        augment = script("07_resnet").augmentation("digits", alpha)
        assert jax.eval_shape(augment, batch, KEY)["y"].shape == shape


# Lesson 8: recurrent networks


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_what_a_unit_carries_fades_in_the_time_that_its_gate_drew(script, name):
    cell = script("08_recurrent").CELLS[name](64, outputs="all")
    x = jnp.zeros((1, 21, 1)).at[0, 0].set(1.0)  # what is to be remembered, then nothing
    params, _ = jax.jit(cell.init)(KEY, x)
    kernel = jnp.zeros_like(params["kernel"])
    kernel = kernel.at[:, 128:192].set(3.0)  # of the candidate alone
    params = params | {"kernel": kernel, "recurrent_kernel": jnp.zeros_like(params["recurrent_kernel"])}
    h = np.asarray(cell.apply(params, {}, x, train=False)[0][0], np.float64)
    carried = np.arctanh(2 * h) if name == "LSTM" else h
    kept = (carried[-1] / carried[0]) ** (1 / 20)
    times = kept / (1 - kept)
    assert 1 <= times.min() < 40 < 120 < times.max() <= 160
    np.testing.assert_allclose(carried[0], np.tanh(3) * (1 - kept), rtol=1e-3)  # as rarely written as it is forgotten


# Lesson 8: texts


def test_the_linear_model_sees_words_pairs_of_words_and_pieces(script):
    texts = ["what is it ?", "what is he ?", "who is it", "who was he"]
    model = script("08_text").linear_model("word").fit(texts, [0, 0, 1, 1])
    (_, words), (_, pieces) = model[0].transformer_list
    single, pairs = ["?", "he", "is", "it", "was", "what", "who"], ["he ?", "is he", "is it", "it ?"]
    pairs += ["was he", "what is", "who is", "who was"]
    assert sorted(words.vocabulary_) == sorted(single + pairs)
    assert {"wh", " wh", "what", " who "} <= set(pieces.vocabulary_)
    assert not {"w", "was", " who i", "o i"} & set(pieces.vocabulary_)  # too short, in one text, across words
    assert model.score(["what was it ?", "who ?"], [0, 1]) == 1
    characters = script("08_text").linear_model("character").fit(["很好", "很差", "很好"], [1, 0, 1])
    (_, words), (_, pieces) = characters[0].transformer_list
    assert sorted(words.vocabulary_) == sorted(["很", "好", "差", "很 好", "很 差"])


def test_the_linear_model_weighs_words_by_the_logarithm_of_their_count_and_their_rarity(script):
    texts = ["a a a b", "b c", "b"]
    (_, words), _ = script("08_text").linear_model("word").fit(texts, [0, 1, 1])[0].transformer_list
    counts = {"a": 3, "b": 1, "a a": 2, "a b": 1}
    rare = {"a": 1, "b": 3, "a a": 1, "a b": 1}
    weighed = {word: (1 + np.log(count)) * (1 + np.log(4 / (1 + rare[word]))) for word, count in counts.items()}
    length = np.sqrt(sum(value**2 for value in weighed.values()))
    row = words.transform(texts[:1]).toarray()[0]
    for word, place in words.vocabulary_.items():
        assert row[place] == pytest.approx(weighed.get(word, 0) / length), word


def test_the_network_of_the_result_is_chosen_by_validation_alone_and_learns_from_both_parts(
    script, monkeypatch, tmp_path
):
    """One network is right on validation texts and wrong on those of the test, the other the other way round."""
    lesson = script("08_text")
    part = {"x": [f"word{row} {'yes' if row % 2 else 'no'}" for row in range(40)], "y": np.arange(40) % 2}
    test = {"x": ["yes new", "no new", "yes", "no", "yes yes"], "y": np.array([1, 0, 1, 0, 1])}
    models = {name: lesson.averaged(50, 2, features=size) for name, size in (("validates", 2), ("tests", 3))}
    monkeypatch.setattr(lesson, "SYSTEMS", {name: lambda *_, name=name: models[name] for name in models})
    monkeypatch.setattr(dl.data, "trec", lambda: (part, test))
    curves, taught = {"validates": [0.5, 1.0, 0.75], "tests": [0.0, 0.25]}, []

    def teach(model, texts, epochs, seed, **watched):
        name = next(name for name in models if models[name] is model)
        taught.append((name, len(texts["y"]), epochs, seed, sorted(watched)))
        return Namespace(params={"w": np.zeros(7)}, name=name), {"validation_accuracy": curves[name], "seconds": [1.0]}

    def predict(model, trained, x):
        tested = len(x.lengths) == len(test["y"])
        right = (trained.name == "tests") == tested
        labels = test["y"] if tested else held_out["y"]
        return jnp.asarray(4 * np.eye(2)[labels if right else 1 - labels])

    _, held_out = dl.data.split(part, 0.1, seed=3)
    monkeypatch.setattr(lesson, "teach", teach)
    monkeypatch.setattr(dl, "predict", predict)
    monkeypatch.setattr("sys.argv", ["08_text.py", "--epochs", "9", "--seed", "3", "--out", str(tmp_path)])
    lesson.main()
    watched = ["callbacks", "validation"]
    thrice = [("validates", 40, 2, seed, []) for seed in (9, 10, 11)]
    assert taught == [("validates", 36, 9, 3, watched), ("tests", 36, 9, 3, watched), *thrice]
    rows = {row["system"]: row["value"] for row in json.loads((tmp_path / "result.json").read_text("utf-8"))}
    together = f"{lesson.BEST}: validates"
    assert (rows["validates"], rows["tests"], rows[together], rows[lesson.LINEAR]) == (0, 100, 0, 100)


# Lesson 10: autoencoders


def autoencoders(script, code):
    return script("10_autoencoder").models((4, 4, 1), (5,), Namespace(code=code, noise=0.4, sparsity=0.01))


def test_autoencoders_go_from_images_to_images_through_a_code_of_that_size(script):
    models = autoencoders(script, 3)
    assert list(models) == ["dense", "convolutional", "sparse", "denoising"]
    x = jax.ShapeDtypeStruct((2, 4, 4, 1), jnp.float32)
    for name, model in models.items():
        params, state = jax.eval_shape(model.init, KEY, x)
        y, _ = jax.eval_shape(partial(model.apply, train=False), params, state, x)
        assert y.shape == x.shape
        half = "encoder" if name == "convolutional" else "autoencoder/encoder"
        inside = partial(dl.inspect.intermediates, model, paths=half)
        assert jax.eval_shape(inside, params, state, x)[half].shape == (2, 3), name
        assert bool(jax.tree.leaves(state)) is (name == "sparse")
        train = partial(jax.eval_shape, partial(model.apply, train=True), params, state, x)
        if name == "denoising":
            with pytest.raises(ValueError, match=r"gaussian_noise.*train=True needs a key"):
                train()
        else:
            train()


def coded(params, x):
    """The sparse code of images."""
    encoder = params["autoencoder"]["encoder"]
    return relu(linear(encoder["dense_1"], relu(linear(encoder["dense"], x.reshape(len(x), -1)))))


def painted(params, code):
    decoder = params["autoencoder"]["decoder"]
    return expit(linear(decoder["dense_1"], relu(linear(decoder["dense"], code))))


def test_the_sparse_autoencoder_pays_for_what_is_on(script):
    model = autoencoders(script, 3)["sparse"]
    x = np.random.default_rng(1).uniform(size=(4, 4, 4, 1)).astype(np.float32)
    params, state = drawn(model, x)
    y, new = jax.jit(partial(model.apply, train=True))(params, state, x)
    code = coded(params, x)
    assert 0 < (code > 0).mean() < 1
    np.testing.assert_allclose(y.reshape(4, 16), painted(params, code), rtol=1e-4)
    (paid,) = jax.tree.leaves(new)
    np.testing.assert_allclose(paid, 0.01 * code.sum() / 4, rtol=1e-5)


def test_units_are_drawn_each_alone_as_high_as_it_is_on_the_most_frequent_first(script, monkeypatch):
    model, lesson, sheets = autoencoders(script, 6)["sparse"], script("10_autoencoder"), []
    x = np.random.default_rng(0).uniform(size=(9, 4, 4, 1)).astype(np.float32)
    params, _ = drawn(model, x, seed=28)
    params["autoencoder"]["encoder"]["dense_1"]["bias"][1] = -100  # a unit that is never on
    code = coded(params, x)
    often = (code > 0).sum(0)
    order = [unit for unit in np.argsort(-often) if often[unit]]
    assert len(order) == len(set(often[order])) == 4
    alone = np.array([np.eye(6)[unit] * code[:, unit].sum() / often[unit] for unit in order])
    monkeypatch.setattr(lesson, "draw_sheet", lambda path, title, images: sheets.append((title, images)))
    lesson.draw_units("units.png", model, params["autoencoder"], x)
    ((title, found),) = sheets
    assert found.shape == (1, 8, 4, 4, 1)
    np.testing.assert_allclose(found.reshape(8, 16)[: len(order)], painted(params, alone), rtol=1e-4)
    np.testing.assert_array_equal(found.reshape(8, 16)[len(order) :], 0)
    assert f"{often.sum() / 9:.1f} of 6 are on in an image, {6 - len(order)} never" in title


# Lesson 11: a variational autoencoder


def tiny_vae(x, **options):
    model = dl.models.vae(2, shape=x.shape[1:], activation=jnp.tanh, **options)
    params, state = drawn(model, x)
    return model, params, state


def bound(x, logits, mean, log_variance):
    """E log p(x|z) of a Bernoulli distribution of each pixel, and KL(q ‖ N(0, I)): one number for each image."""
    x, logits = x.reshape(len(x), -1), logits.reshape(len(x), -1)
    pixels = (x * log_expit(logits) + (1 - x) * log_expit(-logits)).sum(-1)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1)
    return pixels, divergence


def grey(count, seed=4):
    return np.random.default_rng(seed).uniform(size=(count, 2, 3, 1))


def test_the_objective_is_the_negative_bound_of_a_drawn_code(script, x64):
    x = grey(5)
    model, params, state = tiny_vae(x, hidden=(4,))
    total, (_, metrics) = jax.jit(
        lambda params: script("11_vae").objective(model)(params, state, {"x": jnp.asarray(x)}, key=KEY, train=True)
    )(params)
    inside = partial(dl.inspect.intermediates, model, train=True, key=KEY, paths="codes/code")
    z = np.asarray(jax.jit(inside)(params, state, x)["codes/code"])
    encoder, decoder = params["encoder"], params["outputs"]["decoder"]
    hidden = np.tanh(linear(encoder["dense"], x.reshape(5, 6)))
    mean, log_variance = (linear(encoder["moments"][name], hidden) for name in ("mean", "log_variance"))
    noise = (z - mean) / np.exp(log_variance / 2)
    assert 0.01 < np.abs(noise).min() < np.abs(noise).max() < 4
    logits = linear(decoder["dense_1"], np.tanh(linear(decoder["dense"], z)))
    pixels, divergence = bound(x, logits, mean, log_variance)
    assert float(total.mean()) == pytest.approx((divergence - pixels).mean(), rel=1e-10)
    expected = {"elbo": pixels - divergence, "log_likelihood": pixels, "divergence": divergence}
    assert set(metrics) == set(expected)
    for name, values in expected.items():
        assert float(metrics[name].mean()) == pytest.approx(values.mean(), rel=1e-10), name


def test_measure_is_the_mean_over_images_however_they_are_cut(script, x64):
    """With codes of hardly any variance each draw is the mean; the two parts of the images, 501 and 500, differ."""
    x = np.concatenate([grey(501), grey(500) ** 3])
    model, params, state = tiny_vae(x, hidden=())
    moments, decoder = params["encoder"]["moments"], params["outputs"]["decoder"]["dense"]
    moments["log_variance"]["kernel"] *= 0
    moments["log_variance"]["bias"][:] = -70
    mean = linear(moments["mean"], x.reshape(-1, 6))
    pixels, divergence = bound(x, linear(decoder, mean), mean, np.full(mean.shape, -70.0))
    lesson = script("11_vae")
    found = lesson.measure(lesson.objective(model), x, samples=2)(trained(params, state))
    expected = {"elbo": pixels - divergence, "log_likelihood": pixels, "divergence": divergence}
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values.mean(), rel=1e-9), name
    halves = (pixels[:501].mean() + pixels[501:].mean()) / 2
    assert halves != pytest.approx(pixels.mean(), rel=1e-6)


def test_measure_draws_codes_so_that_it_is_a_bound(script, x64):
    """Beside the expectation over z by quadrature; at the mean of z the likelihood is higher."""
    x = grey(40)
    model = dl.models.vae(1, shape=(2, 3, 1), hidden=())
    params, state = drawn(model, x)
    moments, decoder = params["encoder"]["moments"], params["outputs"]["decoder"]["dense"]
    moments["log_variance"]["bias"][:] = 2
    flat = x.reshape(40, 6)
    mean, log_variance = (linear(moments[name], flat) for name in ("mean", "log_variance"))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    at_nodes = [bound(x, linear(decoder, mean + np.exp(log_variance / 2) * n), mean, log_variance)[0] for n in nodes]
    expected = np.average(at_nodes, axis=0, weights=weights).mean()
    lesson = script("11_vae")
    found = lesson.measure(lesson.objective(model), x, samples=40)(trained(params, state))["log_likelihood"]
    assert found == pytest.approx(expected, rel=0.02)
    at_mean = bound(x, linear(decoder, mean), mean, log_variance)[0].mean()
    assert at_mean > expected + 0.1 * abs(expected)


def test_decoded_codes_are_chances_of_black(script, x64):
    x = grey(2)
    model, params, _ = tiny_vae(x, hidden=(4,))
    z = np.random.default_rng(5).normal(size=(7, 2))
    decoder = params["outputs"]["decoder"]
    expected = expit(linear(decoder["dense_1"], np.tanh(linear(decoder["dense"], z))))
    found = script("11_vae").decoded(model, trained(params), jnp.asarray(z))
    np.testing.assert_allclose(found, expected.reshape(7, 2, 3, 1), rtol=1e-10)


# Lesson 12: a game of two networks


def game(x, *, generator=None, discriminator=None, optimizer):
    """Two networks and their train states: by default G makes one image whatever the noise, and D is linear."""
    generator = generator or dl.sequential(lambda z: 0 * z, L.dense(x[0].size), L.reshape(*x.shape[1:]), jnp.tanh)
    discriminator = discriminator or dl.sequential(L.flatten(), L.dense(1), L.reshape())
    nets, s = {"generator": generator, "discriminator": discriminator}, {}
    for seed, (role, first) in enumerate({"generator": np.ones((1, 64), x.dtype), "discriminator": x[:1]}.items()):
        params, state = drawn(nets[role], first, seed)
        params, state = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), (params, state))
        s[role] = trained(params, state).replace(opt_state=optimizer.init(params), key=jax.random.key(seed))
    return nets, s


RATE = 0.1


def by_hand(x, w, b, g, kind, penalty, rounds):
    """w and b of D and g of G after one step: D learns from each part beside the same image of G, G from the new D."""
    losses, last = [], np.tanh(g)
    for part in np.split(2 * x.reshape(len(x), -1) - 1, rounds):
        on_real, on_fake = part @ w + b, last @ w + b
        size = np.sqrt(np.sum(w**2))
        if kind == "wasserstein":
            loss, to_real, to_fake = on_fake - on_real.mean(), np.full(len(part), -1.0), 1.0
        else:
            loss = np.log1p(np.exp(-on_real)).mean() + np.log1p(np.exp(on_fake))
            to_real, to_fake = expit(on_real) - 1, expit(on_fake)
        losses.append(loss + penalty * (size - 1) ** 2)
        slope = (to_real[:, None] * part).mean(0) + to_fake * last + 2 * penalty * (size - 1) * w / size
        w, b = w - RATE * slope, b - RATE * (to_real.mean() + to_fake)
    score = last @ w + b
    loss, to_score = (-score, -1.0) if kind == "wasserstein" else (np.log1p(np.exp(-score)), expit(score) - 1)
    return w, b, g - RATE * to_score * w * (1 - last**2), np.mean(losses), loss


@pytest.mark.parametrize(
    ("kind", "penalty", "rounds"),
    [("binary_cross_entropy", 0, 1), ("wasserstein", 10, 3)],
)
def test_a_step_of_the_game_equals_numpy(script, x64, kind, penalty, rounds):
    x = np.random.default_rng(6).uniform(size=(6, 2, 2, 1))
    optimizer = optax.sgd(RATE)
    nets, s = game(x, optimizer=optimizer)
    options = {"loss": getattr(dl.losses, kind), "optimizer": optimizer, "penalty": penalty, "rounds": rounds}
    step = jax.jit(script("12_gan").gan_step(**nets, **options))
    d, g = (jax.device_get(s[role].params["dense"]) for role in ("discriminator", "generator"))
    w, b, bias, on_d, on_g = by_hand(x, d["kernel"][:, 0], d["bias"][0], g["bias"], kind, penalty, rounds)
    after, metrics = step(s, {"x": jnp.asarray(x)})
    assert {role: int(after[role].step) for role in after} == {"generator": 1, "discriminator": rounds}
    found = after["discriminator"].params["dense"]
    np.testing.assert_allclose(found["kernel"][:, 0], w, rtol=1e-10)
    np.testing.assert_allclose(found["bias"][0], b, rtol=1e-10)
    np.testing.assert_allclose(after["generator"].params["dense"]["bias"], bias, rtol=1e-10)
    np.testing.assert_array_equal(after["generator"].params["dense"]["kernel"], g["kernel"])
    assert float(metrics["discriminator_loss"].mean()) == pytest.approx(on_d, rel=1e-10)
    assert float(metrics["generator_loss"].mean()) == pytest.approx(on_g, rel=1e-10)


def test_each_turn_keeps_the_running_statistics_of_the_other_network(script):
    """G's norm sees noise in G's turn alone; D's sees real images and then G's, in D's turn alone."""
    x = np.random.default_rng(7).uniform(size=(8, 2, 2, 1)).astype(np.float32)
    norm = L.batch_norm()
    generator = dl.sequential(norm, lambda z: 0 * z, L.dense(4), L.reshape(2, 2, 1), jnp.tanh)
    discriminator = dl.sequential(L.flatten(), norm, L.dense(1), L.reshape())
    optimizer = optax.sgd(0.0)
    nets, s = game(x, generator=generator, discriminator=discriminator, optimizer=optimizer)
    s["generator"] = s["generator"].replace(state=jax.tree.map(lambda leaf: leaf + 1000, s["generator"].state))
    options = {"loss": dl.losses.binary_cross_entropy, "optimizer": optimizer, "rounds": 2}
    step = jax.jit(script("12_gan").gan_step(**nets, **options))
    after, _ = step(s, {"x": jnp.asarray(x)})
    np.testing.assert_allclose(after["generator"].state["batch_norm"]["mean"], 900, atol=1)
    image, mean = np.tanh(s["generator"].params["dense"]["bias"]), np.zeros(4)
    for part in np.split(2 * x.reshape(8, 4) - 1, 2):
        for seen in (part.mean(0), image):
            mean = 0.9 * mean + 0.1 * seen
    np.testing.assert_allclose(after["discriminator"].state["batch_norm"]["mean"], mean, rtol=1e-5, atol=1e-6)


def test_each_round_has_noise_of_its_own(script):
    """G is linear and D as well: what D's kernel loses is the mean of the images that it saw."""
    x = np.full((4, 2, 2, 1), 0.5, np.float32)
    generator = dl.sequential(lambda z: z[:, :4], L.dense(4), L.reshape(2, 2, 1))
    optimizer = optax.sgd(1.0)
    nets, s = game(x, generator=generator, optimizer=optimizer)
    options = {"loss": dl.losses.wasserstein, "optimizer": optimizer}
    seen = []
    for rounds in (1, 2):
        step = jax.jit(script("12_gan").gan_step(**nets, **options, rounds=rounds))
        after, _ = step(s, {"x": jnp.asarray(np.tile(x, (rounds, 1, 1, 1)))})
        seen.append(s["discriminator"].params["dense"]["kernel"] - after["discriminator"].params["dense"]["kernel"])
    once, twice = seen
    assert np.abs(once).min() > 1e-3
    assert np.abs(twice - 2 * once).max() > 1e-2


def test_a_critic_whose_slope_is_asked_for_has_no_batch_norm(script):
    lesson = script("12_gan")
    for kind, normed in (("wgan", False), ("dcgan", True)):
        generator, discriminator = lesson.networks(kind, (8, 8, 1))
        assert ("batch_norm" in repr(discriminator)) is normed
        assert "batch_norm" in repr(generator)
    for kind, (_, options, _) in lesson.KINDS.items():
        assert ("penalty" in options) is (kind == "wgan")
        generator, discriminator = lesson.networks(kind, (8, 8, 1))
        z = jax.ShapeDtypeStruct((3, lesson.LATENTS), jnp.float32)
        image, _ = jax.eval_shape(lambda z, net=generator: net.apply(*net.init(KEY, z), z, train=False), z)
        score, _ = jax.eval_shape(lambda x, net=discriminator: net.apply(*net.init(KEY, x), x, train=False), image)
        assert (image.shape, score.shape) == ((3, 8, 8, 1), (3,))


# Lesson 14: transformers

QUESTIONS = [f"what is thing {row} ?" for row in range(10)] + [f"who is person {row} ?" for row in range(10, 20)]


@pytest.fixture
def asked(script, monkeypatch):
    """``questions`` of the lesson, of a few texts: two of the test are among the others."""
    train = {"x": [*QUESTIONS], "y": np.repeat([0, 3], 10)}
    test = {"x": ["who is person 13 ?", "what is it", "what is thing 0 ?"], "y": np.array([3, 0, 0])}
    monkeypatch.setattr(dl.data, "trec", lambda: (train, test))
    return script("14_transformers").questions(Namespace(validation=0.5, dropout=None, seed=1))


def test_questions_begin_with_the_gathering_token_and_none_of_the_test_is_trained_on(asked):
    train, validation, test, model, shown = asked
    assert [len(part["y"]) for part in (train, validation, test)] == [9, 9, 3]
    first = {int(row[0]) for part in (train, validation, test) for row in part["x"].x}
    assert len(first) == 1
    gathering = first.pop()
    assert (train["x"].x[:, 1:] != gathering).all()
    assert gathering == max(part["x"].x.max() for part in (train, validation, test))
    assert jax.eval_shape(model.init, KEY, test["x"])[0]["embed"]["embedding"].shape[0] == gathering + 1
    assert [len(words) + 1 for words in shown] == test["x"].lengths.tolist()
    assert shown[0] == ["who", "is", "person", "[UNK]", "?"]  # that number is in no other question


def test_words_of_the_validation_part_alone_are_unknown(asked):
    train, validation, *_ = asked
    known = set(train["x"].x.ravel().tolist())
    assert set(validation["x"].x.ravel().tolist()) - known == {1}


def attention_weights(p, x, lengths, heads):
    """softmax(q kᵀ / √d) over the real positions, ``(batch, heads, time, keys)``, and what a head's values come to."""
    query, key, value = (
        linear(p[name], x).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3) for name in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    real = np.arange(x.shape[1]) < np.asarray(lengths)[:, None]
    weights = softmax(np.where(real[:, None, None], scores, -np.inf), -1)
    y = (weights @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    return weights, linear(p["out"], y)


def test_the_words_marked_are_those_that_the_layer_looks_at(script, asked, figures, monkeypatch, tmp_path):
    lesson = script("14_transformers")
    *_, test, model, shown = asked
    params, state = drawn(model, test["x"])
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    look = jax.jit(dl.inspect.intermediates, static_argnums=0, static_argnames="paths")
    monkeypatch.setattr(dl.inspect, "intermediates", look)
    x = look(model, params, state, test["x"], paths="norm")["norm"]
    block = jax.tree.map(lambda leaf: leaf[0], params["blocks"]["attention"])
    layer = L.multi_head_attention(lesson.HEADS)
    y, _ = jax.jit(partial(layer.apply, train=False))(block, {}, x)
    weights, expected = attention_weights(block, np.asarray(x.x, np.float64), x.lengths, lesson.HEADS)
    for row, length in enumerate(x.lengths):
        np.testing.assert_allclose(y.x[row, :length], expected[row, :length], rtol=1e-3, atol=1e-4)

    with jax.numpy_rank_promotion("allow"):
        some = trained(params, state), test["x"], shown, ["A", "B", "C"]
        lesson.draw_attention(tmp_path / "attention.png", model, *some)
    ((axes,),) = [figure.axes for figure in figures]
    texts = iter(axes.texts)
    for row, words in enumerate(shown):
        assert next(texts).get_text() == "ABC"[row]
        marked = [next(texts) for _ in words]
        assert [text.get_text() for text in marked] == words
        looks = weights[row, :, 0, 1 : 1 + len(words)].mean(0)
        found = [text.get_bbox_patch().get_alpha() for text in marked]
        np.testing.assert_allclose(found, looks / looks.max(), rtol=1e-3, atol=1e-4)
        assert np.ptp(found) > 0.05


def test_places_are_compared_by_their_cosine_without_the_gathering_token(script, figures, tmp_path):
    table = np.random.default_rng(8).normal(size=(1 + 9, 5))
    script("14_transformers").draw_places(tmp_path / "places.png", table)
    (figure,) = figures
    tiles = [axes.images[0].get_array() for axes in figure.axes[:9]]
    for place, tile in enumerate(tiles):
        for other in range(9):
            a, b = table[1 + place], table[1 + other]
            assert tile[divmod(other, 3)] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)))
