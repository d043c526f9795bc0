"""Each script of the course runs with a tiny budget, writes what it says and prints its results."""

import importlib
import json
import re

import jax
import numpy as np
import pytest
from PIL import Image
from scripts import ROOT, run

import jaxdl as dl

FIELDS = ["system", "data", "parameters", "figure", "value", "unit", "seconds"]


def course(script, folder, *words, pictures=()):
    """What a script prints, and the rows of its ``result.json``; its pictures can be looked at."""
    text = run(script, "--out", folder, *words)
    rows = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert rows
    assert text.count("\nresult: ") == len(rows)
    for row in rows:
        assert list(row) == FIELDS
        assert f"\nresult: {row['system']} on {row['data']}" in text
    for name in pictures:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
    return text, rows


@pytest.fixture
def script(monkeypatch):
    """A script of the course as a module."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


def test_scripts_are_short_and_say_what_one_will_see():
    for path in (ROOT / "examples").glob("[0-9][0-9]_*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 120, path.name
        assert f"python examples/{path.name}" in text.split('"""')[1], path.name


@pytest.mark.slow
def test_01_neuron(tmp_path):
    text, rows = course("01_neuron.py", tmp_path, "--epochs", 30, pictures=["activations.png", "decision.png"])
    assert "sigmoid  f(-2) = 0.1192, f(-1) = 0.2689, f(0) = 0.5000, f(1) = 0.7311, f(2) = 0.8808" in text
    assert (rows[0]["parameters"], rows[0]["value"]) == (3, 100)


@pytest.mark.slow
def test_02_the_chain_rule_by_hand_is_the_gradient_and_a_hidden_layer_learns_xor(tmp_path):
    _, rows = course("02_backpropagation.py", tmp_path, "--epochs", 3000, pictures=["xor.png"])
    scores = {row["system"]: row["value"] for row in rows}
    assert scores["backpropagation"] <= 1e-6
    assert scores["a hidden layer"] == 4
    assert scores["a neuron"] < 4


@pytest.mark.slow
def test_03_every_descent_comes_to_the_normal_equations(tmp_path):
    _, rows = course("03_gradient_descent.py", tmp_path, pictures=["gradient_descent.png"])
    assert len(rows) == 6
    for row in rows:
        assert 0 <= row["value"] <= 1e-3, row["system"]


@pytest.mark.slow
def test_04_coefficients_are_those_of_scikit_learn(tmp_path):
    text, rows = course(
        "04_regularisation.py", tmp_path, "--epochs", 2, "--tries", 1, pictures=["paths.png", "network.png"]
    )
    differences = [row["value"] for row in rows if row["system"].startswith("linear")]
    assert len(differences) == 3
    assert max(differences) <= 1e-3
    for way in ("none", "L1", "L2", "elastic net", "dropout", "early stopping", "sparse"):
        assert re.search(rf"^{way} .* \d+\.\d+ +\d+\.\d+ +\d", text, re.M), way


@pytest.mark.slow
def test_05_mlp_reads_digits(tmp_path):
    words = ["--epochs", 12, "--hidden", 256, 128]
    _, rows = course("05_mlp.py", tmp_path, *words, pictures=["weights.png", "mistakes.png"])
    assert rows[0]["parameters"] == 65 * 256 + 257 * 128 + 129 * 10
    assert rows[0]["value"] >= 92  # after 12 of 30 epochs, with a smaller network


@pytest.mark.slow
def test_scripts_refuse_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write there (Not a directory)" in run("01_neuron.py", "--out", tmp_path / "file" / "out", code=2)


@pytest.mark.parametrize(
    ("name", "words", "error"),
    [
        ("01_neuron", "--classes setosa setosa", "--classes must be two kinds, got setosa and setosa"),
        ("05_mlp", "--hidden 8 0", "--hidden must be 1 or more, got 8, 0"),
        ("08_recurrent", "--seed -1", "--seed must be 0 or more, got -1"),
        ("13_language_model", "--steps 0", "--steps must be 1 or more, got 0"),
        ("13_language_model", "--characters 500", "--characters must be 1,000 or more, got 500"),
        (
            "15_seq2seq",
            "--pairs 500000",
            "--pairs: beside those held out there are 497,476 pairs of numbers below 1,000",
        ),
    ],
)
def test_scripts_refuse_numbers_that_cannot_be(tmp_path, script, monkeypatch, capsys, name, words, error):
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--out", str(tmp_path), *words.split()])
    with pytest.raises(SystemExit, match="2"):
        script(name).main()
    assert error in capsys.readouterr().err


def test_a_script_that_was_stopped_before_its_first_steps_ends_with_a_word(script):
    seconds = script("05_mlp").course.seconds
    assert seconds({"seconds": [1.0, 2.5]}) == 3.5
    with pytest.raises(SystemExit, match="stopped before the first steps were done: nothing to show"):
        seconds({})
    for path in (ROOT / "examples").glob("[0-9][0-9]_*.py"):
        assert 'history["seconds"]' not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.slow
def test_16_convolutions_are_sums_in_any_number_of_axes(tmp_path):
    text, rows = course("16_convolutions.py", tmp_path, "--epochs", 6, pictures=["convolutions.png"])
    lines = re.findall(r"^(\d)-D  .* (3[3· ]*) = (\d+) +(-?[\d.]+) +(-?[\d.]+)$", text, re.M)
    assert [(axes, number) for axes, _, number, *_ in lines] == [("1", "3"), ("2", "9"), ("3", "27"), ("4", "81")]
    for *_, by_hand, by_layer in lines:
        assert abs(float(by_hand) - float(by_layer)) <= 2e-4
    scores = {(row["system"], row["figure"]): row["value"] for row in rows}
    for axes in "1234":
        assert scores[f"{axes}-D CNN", "training loss, last over first"] < 0.8
    assert scores["3-D CNN", "test accuracy"] >= 95  # a guess is right in a quarter of the cases


@pytest.mark.slow
def test_08_the_courses_text_classifier(tmp_path):
    text, rows = course("08_recurrent.py", tmp_path, pictures=["sentences.png"])
    assert "'I love this film' -> [" in text
    assert (rows[0]["parameters"], rows[0]["value"]) == (34113, 100)
    assert "--gaps must be 1 or more, got 0" in run("08_recurrent.py", "--out", tmp_path, "--gaps", 0, code=2)


def test_13_crops_go_on_from_any_step(script):
    data = script("13_language_model").crops(np.arange(200), 3, seed=0)
    batches = list(data(1, 0))
    for batch in batches:
        assert batch["x"].shape == batch["y"].shape == (12, 64)
        np.testing.assert_array_equal(batch["y"], batch["x"] + 1)
        assert batch["y"].max() < 200
    assert len(batches) == 3
    np.testing.assert_array_equal(next(data(1, 2))["x"], batches[2]["x"])
    assert (next(data(2, 0))["x"] != batches[0]["x"]).any()


@pytest.mark.slow
def test_15_sums_are_new_and_the_weights_drawn_are_those_of_the_layer(script):
    seq2seq = script("15_seq2seq")
    pairs = seq2seq.draw_pairs(5000, seed=0)
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 5000
    assert pairs.min() >= 0
    assert 900 < pairs.max() < 1000
    data = seq2seq.examples(*seq2seq.sums([(345, 67), (2, 9)], "last"))
    assert [
        ["".join(seq2seq.CHARACTERS[token] for token in row) for row in part.x] for part in (*data["x"], data["y"])
    ] == [
        ["=214", "=110"],
        ["345+67", "2+9000"],
        ["214.", "11.0"],
    ]
    model = dl.models.seq2seq(13, 13, features=4, hidden=6)
    params, state = model.init(jax.random.key(0), data["x"])
    paths = ["decoder/attention/multi_head_attention", "decoder/read/memory"]
    found = dl.inspect.intermediates(model, params, state, data["x"], paths=paths)
    layer = params["decoder"]["attention"]["multi_head_attention"]
    value = dl.functional.dense(found[paths[1]].x, **layer["value"])
    trained = dl.train.TrainState(0, params, state, None, None)
    y = dl.functional.dense(seq2seq.attention(model, trained, data["x"]) @ value, **layer["out"])
    np.testing.assert_allclose(y, found[paths[0]].x, rtol=1e-5, atol=1e-6)


def test_every_script_has_a_page_in_both_languages_with_its_picture():
    for path in (ROOT / "examples").glob("[0-9][0-9]_*.py"):
        text = (ROOT / "docs" / "course" / f"{path.stem}.md").read_text(encoding="utf-8")
        titles = re.findall(rf"^# {path.stem[:2]} (.+)$", text, re.M)
        assert [any("一" <= letter <= "鿿" for letter in title) for title in titles] == [False, True], path.stem
        assert f"python examples/{path.name}" in text, path.stem
        for name in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            picture = ROOT / "docs" / "course" / name
            assert picture.is_file(), f"{path.stem}: {name}"
            assert picture.stat().st_size <= 200_000, f"{path.stem}: {name}"
        assert f"]({path.stem}.png)" in text, path.stem
