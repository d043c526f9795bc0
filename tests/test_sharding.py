"""Meshes, how parameters lie on them, and that a run over eight devices is the run on one."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from scripts import ROOT

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.sharding import layout

ONE = dl.mesh(data=1)
PARAMS = {"dense": {"kernel": jnp.zeros((4, 6)), "bias": jnp.zeros(6)}}


class Eight:
    """A mesh as far as rules look at it: of eight devices, which are not there."""

    def __init__(self, **sizes):
        self.shape, self.axis_names = sizes, tuple(sizes)


def over_eight(*words):
    """What a function of meshes.py finds, in a process that has eight devices."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = os.environ | flags | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(ROOT / "tests" / "meshes.py"), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


# Meshes


def test_a_mesh_has_its_axes_in_the_order_of_what_they_exchange():
    found = dl.mesh(model=1, data=-1)
    assert (found.axis_names, dict(found.shape)) == (("data", "model"), {"data": len(jax.devices()), "model": 1})
    assert set(found.axis_types) == {AxisType.Auto}
    assert dl.mesh(data=1, devices=jax.devices()[:1]) == dl.mesh(data=1)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (dl.mesh, "mesh: axes must be of data, sequence, expert, model; got none. Did you mean data=-1?"),
        (lambda: dl.mesh(batch=2), "axes must be of data, sequence, expert, model; got batch"),
        (lambda: dl.mesh(data=0), "mesh: data must be a positive int, or -1 for what is left; got 0"),
        (lambda: dl.mesh(data=True), "data must be a positive int, or -1 for what is left; got True"),
        (lambda: dl.mesh(data=-1, devices=[]), "mesh: devices must hold at least one device; got none"),
        (lambda: dl.mesh(data=-1, model=3, devices=[*jax.devices()] * 4), "got 4 cpu devices. 4 does not divide by 3"),
        (lambda: dl.mesh(data=-1, model=-1), "mesh: one size may be -1; got data=-1, model=-1"),
        (
            lambda: dl.mesh(data=512, model=2),
            "mesh: data=512, model=2 must be a number of devices that there is; got 1 cpu devices. "
            "XLA_FLAGS=--xla_force_host_platform_device_count=1024 makes one CPU so many",
        ),
    ],
)
def test_a_mesh_that_cannot_be(make, error):
    with pytest.raises(ValueError, match="mesh") as raised:
        make()
    assert error in str(raised.value)


def test_explicit_axes_become_the_compilers_and_manual_ones_are_refused():
    grid = np.array(jax.devices()[:1])
    explicit = Mesh(grid, ("data",), axis_types=(AxisType.Explicit,))
    assert layout("fit", explicit, "data").mesh == ONE
    for other, error in (
        (Mesh(grid, ("data",), axis_types=(AxisType.Manual,)), "a mesh must have axes that the compiler may use"),
        (Mesh(grid, ("x",)), "the axes of a mesh must be of data, sequence, expert, model; got 'x'. Did you mean"),
    ):
        with pytest.raises(ValueError, match=error):
            layout("fit", other, "data")
    with pytest.raises(TypeError, match=r"fit: mesh must be a Mesh; got 8. Did you mean dl.mesh\(data=-1\)"):
        layout("fit", 8, "data")


# How parameters lie


def lying(sizes, sharding, shapes):
    """The spec of each of some parameters, by path, over a mesh of such sizes."""
    presets = (sharding,) if isinstance(sharding, str) else sharding
    where = dl.sharding.Layout(Eight(**sizes), presets)
    return {path: where.spec(path, shape) for path, shape in shapes.items()}


def test_fsdp_takes_the_largest_axis_that_divides():
    shapes = {"a": (8, 16), "b": (16, 16), "c": (7, 8), "d": (7, 9), "e": (24,), "f": ()}
    specs = [P(None, "data"), P(None, "data"), P(None, "data"), P(None, None), P("data"), P()]
    assert list(lying({"data": 8}, "fsdp", shapes).values()) == specs


def test_tensor_is_columns_then_rows_in_a_stack_as_well():
    shapes = {
        "blocks/attention/query/kernel": (2, 8, 8),
        "blocks/attention/query/bias": (2, 8),
        "blocks/attention/out/kernel": (2, 8, 8),
        "blocks/attention/out/bias": (2, 8),
        "blocks/mlp/up/kernel": (2, 8, 32),
        "blocks/mlp/down/kernel": (2, 32, 8),
        "tokens/embedding": (64, 8),
        "positions/embedding": (16, 8),
        "mlp/dense/kernel": (8, 16),
        "mlp/dense_1/kernel": (16, 8),
        "mlp/dense_1/bias": (8,),
        "mlp/dense_2/kernel": (8, 10),
    }
    column, row, whole = (None, None, "model"), (None, "model", None), (None, None)
    specs = [column, (None, "model"), row, whole, column, row, ("model", None), whole]
    specs += [(None, "model"), ("model", None), (None,), whole]  # ten classes have no quarter
    assert list(lying({"data": 2, "model": 4}, "tensor", shapes).values()) == [P(*spec) for spec in specs]


def test_presets_share_what_is_left():
    shapes = {"blocks/mlp/up/kernel": (2, 8, 32), "blocks/norm/scale": (2, 8), "experts/dense/kernel": (4, 8, 8)}
    found = lying({"data": 2, "model": 4}, ("tensor", "fsdp"), shapes)
    assert list(found.values()) == [P(None, "data", "model"), P(None, "data"), P(None, "data", "model")]
    assert lying({"data": 2, "expert": 4}, ("expert", "fsdp"), shapes)["experts/dense/kernel"] == P(
        "expert", None, "data"
    )


@pytest.mark.parametrize(
    ("sharding", "error"),
    [
        ("zero", "fit: sharding must be of 'data', 'tensor', 'expert', 'fsdp', or rules"),
        (
            "tensor",
            r"sharding='tensor' needs a mesh with an axis model; got the axes data. Did you mean dl.mesh\(model",
        ),
        ({"*/bias": P("data", "data")}, "must have at most as many entries as dense/bias has axes, 1; got 2 of them"),
        ({"*/kernel": P("data", "data")}, "must be of names of the mesh's axes, each once, and of None; got P"),
        ({"*/kernel": P(P.UNCONSTRAINED)}, "must be of names of the mesh's axes, each once, and of None; got P"),
        ({"*/bias": P("data", None)}, "must have at most as many entries as dense/bias has axes, 1; got 2 of them"),
        ({"*/bias": P("rows")}, "must name axes of the mesh, data; got rows"),
    ],
)
def test_a_sharding_that_cannot_be(sharding, error):
    with pytest.raises(ValueError, match=error):
        layout("fit", ONE, sharding).params(PARAMS)


def test_a_rule_must_match_divide_and_be_a_spec():
    with pytest.raises(ValueError, match=r"the rule '\*/weight' must match a path; got paths such as .*dense/kernel"):
        layout("fit", ONE, {"*/weight": P()}).check_rules(["dense/bias", "dense/kernel"])
    rules = (("*/kernel", P("data")),)
    with pytest.raises(ValueError, match=r"must divide axis 0 of dense/kernel by 8; got the shape \[4, 6\]"):
        dl.sharding.Layout(Eight(data=8), (), rules).spec("dense/kernel", (4, 6))
    with pytest.raises(TypeError, match=r"the rules of sharding must be \{glob of paths: jax.sharding.PartitionSpec\}"):
        layout("fit", ONE, {"*/kernel": "data"})


def test_a_sharding_needs_a_mesh():
    data = {"x": np.zeros((4, 2), np.float32), "y": np.zeros((4, 1), np.float32)}
    asked = {"loss": dl.losses.mean_squared_error, "optimizer": optax.sgd(0.1), "epochs": 1, "batch_size": 2}
    with pytest.raises(ValueError, match=r"fit: sharding needs mesh=…; got 'fsdp'. Did you mean mesh=dl.mesh\(data=-1"):
        dl.fit(L.dense(1), data, sharding="fsdp", progress=False, **asked)


def test_a_table_and_a_picture_say_where_parameters_lie(tmp_path):
    placed = jax.device_put(PARAMS, layout("fit", ONE, "fsdp").params(PARAMS))
    found = dl.inspect.describe_sharding(placed)
    assert [(row.path, row.spec, row.bytes) for row in found.arrays] == [
        ("dense/bias", "data", 24),
        ("dense/kernel", "–, data", 96),
    ]
    assert str(found).endswith("120 of 120 bytes on one device")
    figure = found.plot(tmp_path / "lying.png")
    assert [axes.get_title() for axes in figure.axes] == ["dense/kernel\nfloat32[4,6]", "dense/bias\nfloat32[6]"]
    assert (tmp_path / "lying.png").stat().st_size > 1000
    assert dl.inspect.describe_sharding({"key": jax.random.key(0)}).arrays[0].array == "uint32[2]"
    with pytest.raises(TypeError, match="describe_sharding: kernel must be an array of JAX; got"):
        dl.inspect.describe_sharding({"kernel": np.zeros(3)})
    with pytest.raises(ValueError, match="describe_sharding: the tree must hold an array; got"):
        dl.inspect.describe_sharding({})


# Runs over eight devices, each in a process of its own


def test_a_run_over_eight_devices_is_the_run_on_one():
    assert over_eight("equal", "mlp", "fsdp")["fsdp, float64"] < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "cnn", "lstm", "gpt", "moe"])
def test_every_preset_is_the_run_on_one_device(network):
    found = over_eight("equal", network)
    assert len(found) >= 4, found
    for name, far in found.items():
        assert far < (1e-9 if "float64" in name else 1e-5), (name, far)


@pytest.mark.slow
def test_what_else_a_run_can_do_is_the_same_over_a_mesh():
    found = over_eight("ways")
    assert len(found) == 18
    assert max(found.values()) < 1e-5, found
    assert max(over_eight("halves").values()) < 5e-3


@pytest.mark.slow
def test_what_else_may_lie_over_a_mesh_or_be_asked_of_one():
    found = over_eight("edges")
    assert found["explicit"] == 0
    assert found["compiled again"] == 0
    assert found["without a mesh"].startswith("run: a train state that lies over a mesh needs mesh=…; got None")
    (said,) = found["does not divide"]
    assert "batches of 12 do not divide by the 8 devices" in said
    assert said.endswith("Did you mean a batch_size of 8 or 16?")
    assert found["two states"] < 1e-5
    assert found["rule"] == "P('data',)"
    assert found["mapped"] < 1e-5
    assert "got a loss of nan in step 2 of epoch 1, on the examples" in found["not finite"]
    assert 2 in found["rows of a part"]  # of 32 in two parts, over eight devices


@pytest.mark.slow
def test_what_is_written_is_the_same_over_a_mesh():
    assert over_eight("written") == [True, True]


@pytest.mark.slow
def test_a_checkpoint_goes_on_over_any_devices(tmp_path):
    found = over_eight("saved", tmp_path / "run")
    assert [far for name, far in found.items() if "restored" in name] == [0.0, 0.0, 0.0]
    assert max(found.values()) < 1e-5, found


@pytest.mark.slow
def test_programs_exchange_what_they_should_and_nothing_else():
    found = over_eight("collectives")
    for network, reductions in {
        "mlp": 1,
        "cnn": 4,
        "lstm": 1,
        "gpt": 2,
    }.items():  # batch norm adds 3, a loop has its own
        data, fsdp = found[f"{network}, data"], found[f"{network}, fsdp"]
        assert (data.pop("share"), data.pop("forward in blocks")) == (1.0, 0)
        assert data == {"all-reduce": reductions}, network
        assert set(fsdp) == {"all-gather", "all-reduce", "share", "forward in blocks"}, network
        assert fsdp["all-reduce"] == reductions
        assert fsdp["share"] <= 1.1 / 8
    assert found["gpt, fsdp and tensor"]["forward in blocks"] == 2
    assert found["gpt, fsdp and tensor"]["share"] < 0.15
    assert found["moe, expert and fsdp"]["share"] < 0.25
