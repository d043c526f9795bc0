"""Summaries and pictures."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from matplotlib.patches import FancyBboxPatch
from PIL import Image

import jaxdl as dl
from jaxdl import layers as L


def test_summary_names_paths_shapes_and_counts():
    model = dl.sequential(
        ("stem", dl.sequential(L.conv(4, 3), L.batch_norm(), jax.nn.relu)), dl.residual(L.conv(4, 1)), L.flatten()
    )
    text = dl.inspect.summary(model, jnp.ones((1, 8, 8, 2)))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["stem/conv", "conv(features=4, kernel_size=3)", "float32[1,6,6,4]", "76", "–", "5.3 k"],
        ["stem/batch_norm", "batch_norm()", "float32[1,6,6,4]", "8", "8", "444"],
        ["stem/relu", "relu", "float32[1,6,6,4]", "–", "–", "144"],
        ["residual/conv", "conv(features=4, kernel_size=1)", "float32[1,6,6,4]", "20", "–", "1.3 k"],
        ["flatten", "flatten()", "float32[1,144]", "–", "–", "–"],
    ]
    assert text.splitlines()[-1] == "104 parameters, 416 B, and 8 numbers of state"


def test_a_summary_fits_the_terminal_and_breaks_paths_behind_slashes(monkeypatch):
    model = dl.models.text_cnn(100, 6, features=8, filters=4, widths=(3,))
    texts = dl.Ragged(jnp.zeros((2, 40), jnp.int32), jnp.array([3, 40]))
    monkeypatch.setenv("COLUMNS", "84")
    narrow = dl.inspect.summary(model, texts)
    assert {len(line) for line in narrow.splitlines()[:-2]} == {84}
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in narrow.splitlines() if line.startswith("│")]
    paths = [path for path, *_ in rows]
    assert paths[paths.index("windows/width_3/") + 1] == "global_max_pool"
    assert rows[0][2:4] == ["ragged", "800"]
    monkeypatch.setenv("COLUMNS", "30")
    assert {len(line) for line in dl.inspect.summary(model, texts).splitlines()[:-2]} == {80}
    assert narrow.lines[0].output == "ragged float32[2,40,8]"
    long = dl.sequential(("a_name_that_is_much_longer_than_a_column_could_be", L.dense(90_000)))
    text = dl.inspect.summary(long, jax.ShapeDtypeStruct((1, 9), jnp.float32), width=60)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert "".join(path for path, *_ in rows) == "a_name_that_is_much_longer_than_a_column_could_be"
    assert rows[0][3] == "900,000"
    with pytest.raises(ValueError, match="summary: width must be 60 or more.*got 59"):
        dl.inspect.summary(long, jnp.ones((1, 9)), width=59)


def test_summary_of_a_large_model_computes_nothing():
    model = dl.sequential(L.dense(100_000), L.dense(100_000))
    text = dl.inspect.summary(model, jax.ShapeDtypeStruct((1, 100_000), jnp.float32))
    assert text.splitlines()[-1] == "20,000,200,000 parameters, 80.0 GB"


@pytest.mark.slow
def test_summary_holds_figures_and_says_what_is_around_a_layer():
    block = dl.remat(dl.residual(L.dense(3)))
    inner = dl.sequential(L.embedding(5, 3), ("stack", dl.repeat(block, 4)), ("out", L.dense(5, use_bias=False)))
    tied = dl.tie(inner, {"out/kernel": ("embedding/embedding", jnp.transpose)})
    model = dl.sequential(("body", tied), ("fine", dl.lora(L.dense(2), 2)), ("more", dl.vmapped(L.dense(2), 3)))
    x = jnp.zeros((2, 6), jnp.int32)
    found = dl.inspect.summary(model, x, frozen=("body/stack/*", "fine/base/*"))
    notes = {line.path: line.notes for line in found.lines}
    assert notes == {
        "body/embedding": (),
        "body/stack/dense": ("repeat × 4", "remat", "frozen"),
        "body/out": ("kernel tied to embedding/embedding",),
        "fine": ("lora rank 2", "frozen in part"),
        "more": ("vmapped × 3",),
    }
    lines = {line.path: line for line in found.lines}
    assert lines["body/stack/dense"].flops == 4 * (2 * 12 * 9 + 36)
    assert lines["body/stack/dense"].output_bytes == 4 * 12 * 3 * 4
    assert lines["more"].flops == 3 * (2 * 12 * 4 + 24)
    assert lines["more"].parameter_bytes == 3 * 6 * 4
    assert "60 of them frozen" in found.splitlines()[-1]  # the stack's 48, and the 12 under the update
    assert found.memory == {}
    assert (
        found.flops
        == dl.inspect.count_operations(
            lambda p, x: model.apply(p, {}, x, train=False), model.init(jax.random.key(0), x)[0], x
        ).flops
    )
    with pytest.raises(ValueError, match="summary: where='stack/.' must match a path"):
        dl.inspect.summary(model, x, frozen="stack/*")


def test_summary_of_the_compiled_program_and_as_a_page():
    model = dl.sequential(L.dense(4), ("<b>", jnp.tanh))
    found = dl.inspect.summary(model, jnp.ones((2, 3)), compiled=True)
    assert found.memory["arguments"] == (12 + 4 + 6) * 4
    assert "compiled: 88 B of arguments, 32 B of results" in found
    page = found._repr_html_()
    assert page == found.html()
    assert page.count("<tr>") == 3
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "64 FLOPs forward" in page
    assert found.splitlines()[-3].startswith("64 FLOPs forward, 64 B of outputs")


def counted(function, *args):
    return dl.inspect.count_operations(function, *args).flops


def test_operations_are_those_that_a_hand_counts():
    x = jnp.ones((2, 8, 8, 3))
    kernel = jnp.ones((3, 3, 3, 4))
    conv = partial(lax.conv_general_dilated, padding="VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert counted(lambda x: conv(x, kernel, (1, 1)), x) == 2 * (2 * 6 * 6 * 4) * 27
    grouped = partial(conv, feature_group_count=3)
    assert counted(lambda x: grouped(x, jnp.ones((3, 3, 1, 6)), (1, 1)), x) == 2 * (2 * 6 * 6 * 6) * 9
    assert counted(jnp.einsum("bij,bjk->bik", jnp.ones((2, 3, 4)), jnp.ones((2, 4, 5))).__add__, 1.0) == 30
    assert counted(partial(jnp.einsum, "bij,bjk->bik"), jnp.ones((2, 3, 4)), jnp.ones((2, 4, 5))) == 2 * 2 * 3 * 4 * 5
    assert counted(partial(jnp.sum, axis=0), jnp.ones((4, 5))) == 20
    assert counted(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID"), jnp.ones((4, 4))) == 16
    assert counted(jnp.fft.fft, jnp.ones(64)) == 5 * 64 * 6
    assert counted(lambda x: x.at[jnp.array([0, 1])].add(x[:2]), jnp.ones((4, 3))) == 6
    assert counted(jax.jit(jnp.tanh), jnp.ones(7)) == 7
    assert counted(lambda i: i * i + 1, jnp.arange(4)) == 0


def test_operations_of_loops_and_branches():
    x = jnp.ones((4, 4))
    loop = lambda x: lax.scan(lambda c, _: (c @ c, None), x, None, length=5)[0]  # noqa: E731
    assert counted(loop, x) == 5 * 2 * 4**3
    assert counted(lambda x: lax.scan(lambda c, _: (loop(c), None), x, None, length=3)[0], x) == 15 * 2 * 4**3
    branches = lambda x: lax.cond(x[0, 0] > 0, lambda x: jnp.sin(x) * 2, lambda x: x, x)  # noqa: E731
    assert counted(branches, x) == 32
    open_loop = lambda x: lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x + x, x)  # noqa: E731
    assert dl.inspect.count_operations(open_loop, x)[::2] == (16, 1)
    assert counted(jax.checkpoint(jnp.tanh), x) == 16
    assert counted(jax.vmap(jnp.dot, (None, 0)), x, jnp.ones((3, 4, 4))) == 3 * 2 * 4**3
    relu = jax.custom_jvp(lambda x: jnp.maximum(x, 0.0))
    relu.defjvp(lambda primals, tangents: (relu(*primals), tangents[0]))
    assert counted(relu, x) == 16
    assert dl.inspect.count_operations(jnp.tanh, x).bytes == 2 * 64
    total = dl.inspect.Operations(1, 2, 0).plus(dl.inspect.Operations(3, 4, 1), times=2)
    assert total == (7, 10, 2, 0)


def test_operations_equal_those_of_the_compiler():
    model = dl.sequential(L.conv(4, 3), jax.nn.relu, L.flatten(), L.dense(5))
    x = jnp.ones((2, 6, 6, 3))
    params, state = model.init(jax.random.key(0), x)
    forward = lambda params, x: model.apply(params, state, x, train=False)[0]  # noqa: E731
    expected = jax.jit(forward).lower(params, x).compile().cost_analysis()["flops"]
    assert counted(forward, params, x) == expected


def test_devices_are_listed():
    found = dl.devices()
    assert len(found) == len(list(found)) == jax.device_count()
    assert (found.process, found.processes) == (0, 1)
    assert found.versions["jax"] == jax.__version__
    text = repr(found)
    assert text.splitlines()[0].startswith(f"{len(found)} × cpu (cpu)")
    assert "process 1 of 1" in text
    assert f"jaxdl {found.versions['jaxdl']}" in text
    one = dl.inspect.Device(0, "gpu", "H200", 0, 150_000_000_000, 0)
    pair = dl.inspect.Devices((one, one), 0, 1, 8, None, {"jax": "1"})
    assert repr(pair) == "2 × gpu (H200), 150.0 GB each\nprocess 1 of 1\n8 cores\njax 1"


def changes(before, after):
    return [tuple(change) for change in dl.inspect.why_recompiled(before, after)]


def test_what_makes_a_program_compile_again_is_named():
    x = jnp.ones((2, 3))
    assert changes({"x": x}, {"x": x + 1}) == []
    assert changes({"x": x}, {"x": jnp.ones((4, 3))}) == [("['x']", "shape", "float32[2,3]", "float32[4,3]")]
    assert changes(x, x.astype(jnp.bfloat16)) == [("", "dtype", "float32[2,3]", "bfloat16[2,3]")]
    assert changes([jnp.asarray(1.0)], [jnp.float32(1.0)]) == [("[0]", "weak type", "True", "False")]
    assert changes([1.0], [jnp.float32(1)]) == [("[0]", "type", "a Python float (weak float32)", "float32[]")]
    assert changes(([1], {}), ([1, 2], {})) == [("[0][1]", "the entry", "absent", "a Python int (weak int32)")]
    assert changes({"n": 3, "how": jnp.sin}, {"n": 4, "how": jnp.cos}) == [
        ("['how']", "value", "sin", "cos"),
        ("['n']", "value", "3", "4"),
    ]
    assert changes(np.ones(3), jnp.ones(3)) == []  # on the device both are float32
    placed = jax.device_put(x, jax.devices()[0])
    ((path, what, before, after),) = changes([x], [placed])
    assert (path, what, before) == ("[0]", "sharding", "not committed")
    assert "SingleDeviceSharding" in after
    ((_, what, _, _),) = changes([x], (x,))
    assert what == "structure"
    assert changes(jax.random.key(0), jax.random.key(1)) == []


@pytest.mark.slow
def test_the_changes_are_those_that_jit_sees():
    """Each pair compiles twice exactly where a change is named."""
    x = jnp.ones((2, 3))
    sides = [x, x + 1, jnp.ones((4, 3)), x.astype(jnp.bfloat16), np.ones((2, 3), np.float32), 1.0, 2, jnp.float32(1)]
    for one in sides:
        for two in sides:
            traces = []
            function = jax.jit(lambda x, traces=traces: traces.append(1) or x)
            function(one)
            function(two)
            named = [change for change in dl.inspect.why_recompiled(one, two) if change.what != "value"]
            assert (len(traces) == 2) == bool(named), (one, two)


def test_changes_read_well():
    assert str(dl.inspect.why_recompiled([1], [1])).startswith(
        "nothing that a program depends on: it was another function"
    )
    text = str(dl.inspect.why_recompiled((jnp.ones(2),), (jnp.ones(3),)))
    assert text == "[0]: shape was float32[2], is float32[3]"


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_models_are_drawn(tmp_path):
    cnn = dl.sequential(L.conv(4, 3), jax.nn.relu, L.max_pool(2), L.flatten(), ("head", L.dense(2)))
    figure = dl.inspect.graph(cnn, jnp.ones((1, 8, 8, 1)), tmp_path / "cnn.png")
    assert texts(figure)[0] == "input  float32[1,8,8,1]"
    assert texts(figure)[-3:] == ["head: dense(features=2)", "float32[1,2]", "output"]
    short = dl.sequential(L.conv(4, 1, strides=2), L.batch_norm())
    block = dl.residual(L.conv(4, 3, strides=2, padding="SAME"), L.batch_norm(), shortcut=short)
    both = dl.branch(("a", L.conv(2, 1)), ("b", L.conv(3, 1)), merge="concat")
    figure = dl.inspect.graph(
        dl.sequential(block, both, L.global_avg_pool()), jnp.ones((1, 8, 8, 3)), tmp_path / "r.png"
    )
    assert {"residual", "shortcut: sequential", "+", "branch", "‖"} <= set(texts(figure))
    words = dl.sequential(
        L.embedding(9, 8), ("blocks", dl.repeat(dl.remat(L.transformer_block(2, dropout=0.1)), 6)), ("out", L.dense(9))
    )
    words = dl.tie(words, {"out/kernel": ("embedding/embedding", jnp.transpose)})
    figure = dl.inspect.graph(words, jnp.zeros((1, 5), jnp.int32), tmp_path / "t.png")
    assert {"tie out/kernel = embedding/embedding", "blocks: repeat × 6, remat, transformer_block"} <= set(
        texts(figure)
    )
    assert texts(figure).count("+") == 2
    assert all(is_picture(tmp_path / name) for name in ("cnn.png", "r.png", "t.png"))


def test_nothing_drawn_overlaps_and_lines_end_at_boxes():
    parts = dl.parallel(("i", L.dense(4)), ("t", dl.residual(L.dense(2), shortcut=L.dense(2))))
    join = dl.branch(("x", lambda pair: pair[0][:, :2]), ("y", lambda pair: pair[1]))
    experts = dl.mixture_of_experts(dl.sequential(L.dense(8), jnp.tanh, L.dense(2)), 4)
    decoder = L.transformer_decoder_block(2, pre_norm=False)
    ensemble = ("all", dl.vmapped(dl.lora(L.dense(3), 2), 5))
    cases = [
        (dl.sequential(parts, join, experts, ensemble), (jnp.ones((1, 3)), jnp.ones((1, 2)))),
        (dl.sequential(decoder), (jnp.ones((1, 3, 4)), jnp.ones((1, 5, 4)))),
        (L.dense(3), jnp.ones((1, 2))),
        (dl.sequential(), jnp.ones(3)),
    ]
    for model, x in cases:
        figure = dl.inspect.graph(model, x)
        axes = figure.axes[0]
        boxes = [patch.get_bbox() for patch in axes.patches if getattr(patch, "get_linestyle", None) and
                 isinstance(patch, FancyBboxPatch) and patch.get_linestyle() in ("-", "solid")]  # fmt: skip
        for one, two in itertools.combinations(boxes, 2):
            apart = one.x1 <= two.x0 or two.x1 <= one.x0 or one.y1 <= two.y0 or two.y1 <= one.y0
            assert apart, (one, two)
        (left, right), (bottom, top) = axes.get_xlim(), sorted(axes.get_ylim())
        assert all(left <= box.x0 <= box.x1 <= right and bottom <= box.y0 <= box.y1 <= top for box in boxes)


def is_picture(path):
    with Image.open(path) as picture:
        return len(np.unique(np.asarray(picture))) > 3


HISTORY = {"epoch": [1, 2, 3], "steps": [9, 9, 4], "loss": [2.0, 1.0, 0.9], "validation_loss": [1.5, 1.2, None]}


def test_pictures_are_drawn(tmp_path):
    figure = dl.inspect.plot_history(HISTORY | {"accuracy": [0.1, 0.2, 0.3], "seconds": [1, 1, 1]}, tmp_path / "h.png")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]
    labels, predicted = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    figure = dl.inspect.plot_confusion(labels, predicted, ["cat", "dog", "hen"], tmp_path / "c.png")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "1", "1", "1"]
    images, logits = np.random.default_rng(0).random((4, 5, 5, 3)), np.eye(3)[predicted] * 4
    figure = dl.inspect.plot_mistakes(images, labels, logits, path=tmp_path / "m.png")
    assert [axes.get_title() for axes in figure.axes] == ["1\ntaken for 2, 96 %", "2\ntaken for 1, 96 %"]
    none = dl.inspect.plot_mistakes(images, predicted, logits)
    assert none.texts[0].get_text() == "no mistakes"
    assert all(is_picture(tmp_path / name) for name in ("h.png", "c.png", "m.png"))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="history must hold at least one epoch with a metric"):
        dl.inspect.plot_history({})
    with pytest.raises(ValueError, match=r"labels and predictions must be \(n,\) alike"):
        dl.inspect.plot_confusion(np.zeros(3, int), np.zeros(4, int))
