"""Summaries and pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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


def test_summary_of_a_large_model_computes_nothing():
    model = dl.sequential(L.dense(100_000), L.dense(100_000))
    text = dl.inspect.summary(model, jax.ShapeDtypeStruct((1, 100_000), jnp.float32))
    assert text.splitlines()[-1] == "20,000,200,000 parameters, 80.0 GB"


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
