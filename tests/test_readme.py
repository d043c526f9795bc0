"""The README's programs run as they stand, one after the other, and say what it says."""

import inspect
import pathlib
import re
import traceback

import jax

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)


def test_every_snippet_runs_and_every_error_is_the_printed_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with jax.numpy_rank_promotion("allow"):
        for (language, code), (_, following) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
            if language != "python":
                continue
            expected = re.match(r"\w+Error: ", following)
            try:
                exec(compile(code, "README.md", "exec"), names)
            except Exception as error:
                assert expected, f"{code}\n{traceback.format_exc()}"
                shown = "".join(traceback.format_exception_only(error))
                assert shown.startswith(following.rstrip("\n")), shown
            else:
                assert not expected, code
    assert (tmp_path / "history.png").stat().st_size > 10_000
    assert names["h"].shape == (1293, 3, 3, 32)
    assert names["history"]["epoch"] == [1, 2]


def test_the_chinese_readme_shows_the_same_code():
    chinese = (pathlib.Path(__file__).parent.parent / "README.zh.md").read_text(encoding="utf-8")
    assert re.findall(r"```(\w*)\n(.*?)```", chinese, re.S) == BLOCKS


def test_a_layer_with_parameters_state_and_randomness_takes_14_lines_or_fewer():
    (code,) = [code for _, code in BLOCKS if "def noisy_scale" in code]
    layer = code[: code.index("\nmodel")].strip().splitlines()
    assert len(layer) <= 14
    assert inspect.cleandoc(layer[0]) == "@dl.layer"
