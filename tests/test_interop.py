"""Weights in files."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

import jaxdl as dl
from jaxdl import layers as L


def test_parameters_go_out_and_come_back(tmp_path):
    model = dl.sequential(("stem", dl.sequential(L.conv(3, 2))), L.flatten(), L.dense(2))
    params, state = model.init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
    params["gain"] = jnp.float32(2)
    params["dense"]["kernel"] = params["dense"]["kernel"].astype(jnp.bfloat16)
    dl.interop.save_params(tmp_path / "a.safetensors", params, metadata={"epochs": "3"})
    found = dl.interop.load_params(tmp_path / "a.safetensors")
    jax.tree.map(np.testing.assert_array_equal, found, params)
    assert found["dense"]["kernel"].dtype == jnp.bfloat16
    with safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert sorted(file.keys()) == ["dense/bias", "dense/kernel", "gain", "stem/conv/bias", "stem/conv/kernel"]
        assert file.metadata()["epochs"] == "3"
        assert sorted(json.loads(file.metadata()["jaxdl_digests"])) == ["", *sorted(file.keys())]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    dl.interop.save_params(path, {"a": np.ones(3)})
    with pytest.raises(TypeError, match=r"save_params: a must be an array of numbers; got object\[1\]"):
        dl.interop.save_params(path, {"a": np.array([object()])})
    assert dl.interop.load_params(path)["a"].tolist() == [1, 1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x80\x04not a tensor file")
    with pytest.raises(ValueError, match=r"load_params\('.*a.safetensors'\): the file must be sound safetensors; got"):
        dl.interop.load_params(path)
    with pytest.raises(ValueError, match="params must hold at least one array"):
        dl.interop.save_params(path, {})
    with pytest.raises(ValueError, match="a name must be a non-empty str without '/'"):
        dl.interop.save_params(path, {"a/b": np.ones(3)})
    with pytest.raises(FileNotFoundError):
        dl.interop.save_params(tmp_path / "missing" / "a.safetensors", {"a": np.ones(3)})
