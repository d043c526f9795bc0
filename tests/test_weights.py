"""Weights in files: into a model by path, and what damaged and hostile files come to."""

import json
import os
import pathlib
import re
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.interop.tensors import DIGESTS

ROOT = pathlib.Path(__file__).parent.parent
ARRAYS = {
    "stem": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.ones(4, np.float32)},
    "head": {"kernel": np.full((4, 2), 0.5, np.float32)},
}


@pytest.fixture
def path(tmp_path):
    dl.interop.save_params(tmp_path / "a.safetensors", ARRAYS, metadata={"epochs": "3"})
    return tmp_path / "a.safetensors"


def zeros(**shapes):
    return {
        part: {name: np.zeros(shape, np.float32) for name, shape in names.items()} for part, names in shapes.items()
    }


STEM = {"kernel": (3, 4), "bias": 4}


def test_all_of_a_file_goes_into_a_model_that_has_it(path):
    params, report = dl.interop.load_into(zeros(stem=STEM, head={"kernel": (4, 2)}), path)
    jax.tree.map(np.testing.assert_array_equal, params, ARRAYS)
    assert report.matched == ("head/kernel", "stem/bias", "stem/kernel")
    assert (report.missing, report.left_over, report.metadata) == ((), (), {"epochs": "3"})


def test_a_part_goes_into_another_model_and_the_rest_stays(path):
    model = dl.sequential(("stem", L.dense(4)), jnp.tanh, ("head", L.dense(7)))
    start, _ = model.init(jax.random.key(0), jnp.ones((1, 3)))
    params, report = dl.interop.load_into(start, path, where="stem/*")
    np.testing.assert_array_equal(params["stem"]["kernel"], ARRAYS["stem"]["kernel"])
    assert isinstance(params["stem"]["kernel"], jax.Array)
    assert params["head"] is not start["head"]
    jax.tree.map(np.testing.assert_array_equal, params["head"], start["head"])
    assert str(report) == (
        f"{path}\n  matched    2: stem/bias, stem/kernel\n  missing    0\n  left over  1: head/kernel"
    )


STEM_PATHS = ("stem/bias", "stem/kernel")


@pytest.mark.parametrize(
    ("params", "options", "matched"),
    [
        (zeros(coder=STEM), {"rename": {"stem": "coder"}, "where": "coder/*"}, ("coder/bias", "coder/kernel")),
        (zeros(coder=STEM), {"rename": {"stem/": "/coder/"}, "where": "coder/*"}, ("coder/bias", "coder/kernel")),
        ({"net": zeros(stem=STEM)}, {"rename": {"": "net"}, "where": "*/stem/*"}, ("net/stem/bias", "net/stem/kernel")),
        ({"kernel": np.zeros((3, 4), np.float32)}, {"rename": {"stem": ""}, "where": "kernel"}, ("kernel",)),
        (zeros(stem=STEM), {"where": ["*/kernel", "stem/bias"], "strict": False}, STEM_PATHS),
    ],
)
def test_names_are_those_of_the_model_after_renaming(path, params, options, matched):
    found, report = dl.interop.load_into(params, path, **options)
    assert report.matched == matched
    kernel = next(leaf for leaf in jax.tree.leaves(found) if leaf.shape == (3, 4))
    np.testing.assert_array_equal(kernel, ARRAYS["stem"]["kernel"])


def test_everything_that_does_not_fit_is_said_at_once_with_both_sides(path):
    params = zeros(stem={"kernel": (3, 5), "bias": 4, "gain": 1})
    params["stem"]["bias"] = params["stem"]["bias"].astype(np.float16)
    with pytest.raises(ValueError, match=r"load_into\('.*a\.safetensors'\): .* must fit params; got 4 that") as raised:
        dl.interop.load_into(params, path)
    assert str(raised.value).splitlines()[1:] == [
        "  stem/bias: float32[4] in the file, float16[4] in params",
        "  stem/kernel: float32[3,4] in the file, float32[3,5] in params",
        "  stem/gain: nothing in the file, float32[1] in params",
        "  head/kernel: 'head/kernel' in the file, nothing in params",
        "Did you mean where=…, rename=… or strict=False?",
    ]
    # Not strict is not blind: what has a place must fit it.
    with pytest.raises(ValueError, match="got 2 that do not fit"):
        dl.interop.load_into(params, path, strict=False)
    found, report = dl.interop.load_into(zeros(stem={**STEM, "gain": 1}), path, strict=False)
    assert (report.missing, report.left_over) == (("stem/gain",), ("head/kernel",))
    np.testing.assert_array_equal(found["stem"]["gain"], 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "stm/*"}, r"where='stm/\*' must match a path; got paths such as stem"),
        ({"rename": {"stm": "stem"}}, r"rename: 'stm' must begin a name in the file; got names such as stem/"),
        ({"rename": {"head": "stem"}}, r"a path of its own; got head/kernel and stem/kernel as stem/kernel"),
    ],
)
def test_globs_and_prefixes_that_match_nothing_are_errors(path, options, message):
    with pytest.raises(ValueError, match=message):
        dl.interop.load_into(zeros(stem=STEM), path, **options)


def test_a_file_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("jaxdl.core.files.os.fsync", lambda number: synced.append(os.fstat(number).st_size))
    dl.interop.save_params(tmp_path / "a", ARRAYS)
    assert synced == [(tmp_path / "a").stat().st_size]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"load_params\('.*'\): path must be a file; got a folder"):
        dl.interop.load_params(tmp_path)


def test_metadata_are_texts(path):
    assert dl.interop.load_metadata(path) == {"epochs": "3"}
    for wrong in ({"epochs": 3}, {DIGESTS: "{}"}):
        with pytest.raises(TypeError, match=rf"metadata must be texts by name, none of them {DIGESTS}; got"):
            dl.interop.save_params(path, ARRAYS, metadata=wrong)


def test_every_kind_of_number_keeps_its_digest(tmp_path):
    kinds = [np.float64, np.float16, jnp.bfloat16, np.int8, np.uint32, np.int64, np.bool_, np.complex64, ">f4"]
    params = {str(i): np.ones((2, 3), kind) for i, kind in enumerate(kinds)}
    params |= {
        "scalar": np.float32(2),
        "empty": np.zeros((0, 3)),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    dl.interop.save_params(tmp_path / "a", params)
    found = dl.interop.load_params(tmp_path / "a")
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert found["2"].dtype == jnp.bfloat16


def test_a_file_of_others_is_read_as_it_is(tmp_path):
    safetensors.numpy.save_file({"encoder.weight": np.ones(3)}, tmp_path / "a")
    assert list(dl.interop.load_params(tmp_path / "a")) == ["encoder.weight"]
    assert dl.interop.load_metadata(tmp_path / "a") == {}
    safetensors.numpy.save_file({"a": np.ones(3), "a/b/c": np.ones(3)}, tmp_path / "a")
    with pytest.raises(ValueError, match=r"no array's name may be another's folder; got 'a' beside 'a/b/c'"):
        dl.interop.load_params(tmp_path / "a")


def hostile(header, data=b"\0" * 16, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(4,), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


ENTRY = json.dumps(tensor()).encode()
HOSTILE = {
    "empty": b"",
    "no header": b"\x01",
    "length beyond the file": hostile({"a": tensor()}, length=10**6),
    "length beyond memory": hostile({"a": tensor()}, length=2**62),
    "length beyond all": hostile({"a": tensor()}, length=2**64 - 1),
    "length short": hostile({"a": tensor()}, length=3),
    "overlapping": hostile({"a": tensor(), "b": tensor(offsets=(0, 16))}),
    "a hole": hostile({"a": tensor(shape=(2,), offsets=(8, 16))}),
    "backwards": hostile({"a": tensor(offsets=(16, 0))}),
    "beyond the end": hostile({"a": tensor(shape=(400,), offsets=(0, 1600))}),
    "truncated": hostile({"a": tensor()}, data=b"\0" * 15),
    "more than said": hostile({"a": tensor()}, data=b"\0" * 17),
    "negative shape": hostile({"a": tensor(shape=(-4,))}),
    "negative offset": hostile({"a": tensor(offsets=(-16, 0))}),
    "huge shape": hostile({"a": tensor(shape=(2**40,))}),
    "shape that wraps around": hostile({"a": tensor(shape=(2**32, 2**32, 4))}),
    "huge and empty": hostile({"a": tensor(shape=(0, 2**62, 2**62), offsets=(0, 0))}, data=b""),
    "wrong dtype": hostile({"a": tensor("F33")}),
    "dtype of another size": hostile({"a": tensor("F64")}),
    "object": hostile({"a": tensor("O")}),
    "floats as offsets": hostile({"a": tensor(offsets=(0.5, 16))}),
    "a list": hostile([tensor()]),
    "twice": hostile(b'{"a":' + ENTRY + b',"a":' + ENTRY.replace(b"F32", b"I32") + b"}"),
    "metadata twice": hostile(b'{"__metadata__":{"x":"1","x":"2"},"a":' + ENTRY + b"}"),
    "metadata of numbers": hostile({"__metadata__": {"x": 1}, "a": tensor()}),
    "digests of another kind": hostile({"__metadata__": {DIGESTS: "3"}, "a": tensor()}),
    "digests that lie": hostile({"__metadata__": {DIGESTS: "{}"}, "a": tensor()}),
    "no text": hostile(b'{"\xff\xfe":' + ENTRY + b"}"),
    "no JSON": hostile(b"{]"),
    "deep": hostile(b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"),
    "a pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(tmp_path, raw):
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(
        ValueError, match=r"load_params\('.*a'\): (the file must be sound|what the file holds must have)"
    ):
        dl.interop.load_params(tmp_path / "a")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.safetensors"
    dl.interop.save_params(path, ARRAYS, metadata={"epochs": "3"})
    return path, path.read_bytes()


def never_wrong(sound, data):
    """Damage the file; what is read must be what was saved, or an error."""
    path, raw = sound
    kind = data.draw(st.sampled_from(["flip", "cut", "zeros", "insert", "swap", "header"]))
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = bytearray(raw)
    if kind == "flip":
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "header":  # where a fault does most
        damaged[at % (8 + int.from_bytes(raw[:8], "little"))] = data.draw(st.integers(0, 255))
    elif kind == "zeros":
        damaged[at : at + 16] = bytes(len(damaged[at : at + 16]))
    elif kind == "swap":
        damaged[at:] = damaged[at:][::-1]
    else:
        damaged[at:] = damaged[at:][:0] if kind == "cut" else b"\x7f" + damaged[at:]
    (path.parent / "damaged").write_bytes(damaged)
    try:
        found = dl.interop.load_params(path.parent / "damaged")
    except ValueError as error:
        assert "safetensors" in str(error) or "digests" in str(error)
        return
    # A flip in the very name under which the digests stand leaves a file of others, of which the numbers are sound.
    jax.tree.map(np.testing.assert_array_equal, found, ARRAYS)
    assert bytes(damaged) == raw or DIGESTS.encode() not in damaged or kind in ("flip", "header")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_never_gives_wrong_numbers(sound, data):
    never_wrong(sound, data)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_a_thousand_damaged_files(sound, data):
    never_wrong(sound, data)


UNSAFE = {
    r"\b(c?pickle|cloudpickle|dill|joblib|marshal|shelve)\b": "runs code from a file",
    r"allow_pickle\s*=\s*True": "runs code from a file",
    r"torch\.load\((?![^)]*weights_only\s*=\s*True)": "runs code from a file",
    r"\byaml\.(load|unsafe_load)\(": "runs code from a file",
    r"(?<![\w.])(eval|exec)\(": "runs text",
}


@pytest.mark.parametrize("folder", ["jaxdl", "examples", "benchmarks"])
def test_nothing_in_the_project_runs_code_from_a_file(folder):
    for file in (ROOT / folder).rglob("*.py"):
        for pattern, why in UNSAFE.items():
            found = re.search(pattern, file.read_text(), re.I)
            assert not found, f"{file}: {found and found[0]} {why}"
