"""The examples run from the command line, write what they say and refuse what they must."""

import json
import pathlib
import subprocess
import sys

from PIL import Image
from safetensors import safe_open

ROOT = pathlib.Path(__file__).parent.parent


def run(script, *words, code=0):
    """What a script prints, run from the checkout with the package of this checkout."""
    command = [sys.executable, "-W", "error::UserWarning", f"examples/{script}", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def environment():
    import os

    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def test_images_learns_the_digits_and_writes_everything(tmp_path):
    text = run("images.py", "--out", tmp_path / "out")
    last = text.strip().splitlines()[-1]
    assert last.startswith("test accuracy ")
    assert float(last.split()[2]) >= 97.0
    assert "38,602 parameters" in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confusion.png", "history.json", "learning_curves.png", "mistakes.png", "params.safetensors",
    ]  # fmt: skip
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert len(history["validation_accuracy"]) == 30
    with safe_open(tmp_path / "out" / "params.safetensors", "numpy") as file:
        assert file.get_tensor("conv/kernel").shape == (3, 3, 1, 32)
    for name in ("confusion.png", "learning_curves.png", "mistakes.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 200


def test_images_refuses_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    text = run("images.py", "--out", tmp_path / "file" / "out", code=2)
    assert "cannot write there (Not a directory)" in text


def test_functional_learns_the_digits_in_under_60_lines():
    text = run("functional.py")
    assert float(text.split()[-1]) >= 0.965
    assert len((ROOT / "examples" / "functional.py").read_text().splitlines()) < 60
