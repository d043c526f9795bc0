"""What runs over eight devices: called as a script, with the name of a function of this file and its arguments, it
prints what that finds as JSON.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python tests/meshes.py equal mlp     # one CPU as eight devices
"""

import json
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.train.placement import placement_on
from jaxdl.train.program import train_program, zero_totals

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(44, 8, 8, 1))
TOKENS = RANDOM.integers(0, 16, (44, 8))
LABELS = RANDOM.integers(0, 8, 44)


def mlp():
    return dl.sequential(L.flatten(), ("mlp", dl.models.mlp(16, 16, 8))), IMAGES, LABELS


def cnn():
    convs = (
        L.conv(8, 3, padding="SAME", use_bias=False),
        L.batch_norm(),
        jax.nn.relu,
        L.max_pool(2),
        L.conv(16, 3, padding="SAME"),
    )
    rest = jax.nn.relu, L.max_pool(2), L.flatten(), L.dropout(0.25), L.dense(8)
    return dl.sequential(*convs, *rest), IMAGES, LABELS


def lstm():
    return dl.models.text_rnn(16, 8, features=8, hidden=16, dropout=0.1), TOKENS, LABELS


def gpt():
    model = dl.models.gpt(16, features=16, layers=2, heads=4, length=8, dropout=0.1)
    return model, TOKENS, np.roll(TOKENS, -1, 1)


def moe():
    expert = dl.sequential(L.dense(16), jax.nn.relu, L.dense(8))
    experts = dl.residual(dl.mixture_of_experts(expert, 4))
    return dl.sequential(L.embedding(16, 8), experts, L.dense(16)), TOKENS, np.roll(TOKENS, -1, 1)


PRESETS = {
    "data": ({"data": 8}, "data"),
    "fsdp": ({"data": 8}, "fsdp"),
    "tensor": ({"data": 2, "model": 4}, "tensor"),
    "fsdp and tensor": ({"data": 2, "model": 4}, ("fsdp", "tensor")),
    "expert": ({"data": 2, "expert": 4}, "expert"),
    "expert and fsdp": ({"data": 2, "expert": 4}, ("expert", "fsdp")),
    "sequence": ({"data": 2, "sequence": 4}, "data"),
}
SUITED = {
    mlp: ("data", "fsdp", "tensor", "fsdp and tensor"),
    cnn: ("data", "fsdp"),
    lstm: ("data", "fsdp"),
    gpt: ("data", "fsdp", "tensor", "fsdp and tensor", "sequence"),
    moe: ("data", "fsdp", "expert", "expert and fsdp"),
}


def farthest(found, expected):
    """The largest difference of any leaf, as a share of its largest entry, or of a hundredth where all are smaller: a
    bias whose true gradient is zero, such as that of attention's keys, is nothing but rounding."""

    def one(a, b):
        a, b = (np.asarray(whole(leaf), np.float64) for leaf in (a, b))
        return np.abs(a - b).max() / max(np.abs(b).max(), 1e-2)

    return float(max(jax.tree.leaves(jax.tree.map(one, found, expected))))


def whole(leaf):
    """An array, also one of whose parts other processes hold some."""
    if getattr(leaf, "is_fully_addressable", True):
        return leaf
    return multihost_utils.process_allgather(leaf, tiled=True)


def trained(make, optimizer, dtype, whole, **arguments):
    """Losses, parameters and state after 21 steps in seven epochs, whose last batch of 12 no eight devices can share;
    ``whole``: and what the model measures and says, from batches of which some cannot be shared either."""
    model, x, y = make()
    x = x.astype(dtype) if x.dtype.kind == "f" else x
    s = dl.train.create_state(model, optimizer, x)
    params, state = jax.tree.map(lambda leaf: leaf.astype(dtype), (s.params, s.state))
    s = s.replace(params=params, state=state, opt_state=optimizer.init(params))
    data, rest = {"x": x, "y": y}, {"epochs": 7, "batch_size": 16, "progress": False}
    rest |= {"loss": dl.losses.cross_entropy, "optimizer": optimizer, "train_state": s}
    s, history = dl.fit(model, data, **rest, **arguments)
    asked = {"loss": dl.losses.cross_entropy, "batch_size": 32}
    said = (dl.evaluate(model, s, data, **asked), dl.predict(model, s, x, batch_size=16)) if whole else ()
    return history["loss"], s.params, s.state, said


def equal(name, *words):
    """For each preset and dtype, or those named, how far 21 steps over the mesh are from those on one device."""
    found, make = {}, globals()[name]
    presets = [word for word in words if word in PRESETS] or SUITED[make]
    for dtype, optimizer, some in (("float64", optax.adam(1e-2), presets), ("float32", optax.sgd(0.1), presets[:2])):
        if dtype not in words and {"float64", "float32"} & set(words):
            continue
        with jax.enable_x64(dtype == "float64"):
            asked = make, optimizer, dtype, make is mlp and dtype == "float64"
            expected = trained(*asked)
            for preset in some:
                sizes, sharding = PRESETS[preset]
                result = trained(*asked, mesh=dl.mesh(**sizes), sharding=sharding)
                found[f"{preset}, {dtype}"] = farthest(result, expected)
    return found


def ways():
    """How far what else a run can do is over a mesh from what it is on one device."""
    model, x, y = mlp()
    x = x.astype("float32")
    deep = dl.sequential(("tokens", L.embedding(16, 8)), dl.repeat(dl.residual(L.dense(8), jnp.tanh), 3, remat=True))
    batches = [{"x": x[at : at + 8], "y": y[at : at + 8]} for at in range(0, 44, 8)]
    texts = {"x": TOKENS, "y": np.roll(TOKENS, -1, 1)}
    asked = {"loss": dl.losses.cross_entropy, "epochs": 2, "batch_size": 16, "progress": False}
    sgd = optax.sgd(0.1)
    kinds = {
        "accumulate": (model, {"x": x, "y": y}, {"optimizer": sgd, "accumulate": 2}),
        "remat": (dl.sequential(deep, L.dense(16)), texts, {"optimizer": sgd}),
        "clipping": (model, {"x": x, "y": y}, {"optimizer": optax.chain(optax.clip_by_global_norm(0.1), sgd)}),
        "weights": (model, {"x": x, "y": y, "weight": RANDOM.random(44).astype("float32")}, {"optimizer": sgd}),
        "ema": (model, {"x": x, "y": y}, {"optimizer": dl.ema(sgd, 0.9)}),
        "skip": (model, {"x": x, "y": y}, {"optimizer": sgd, "on_nonfinite": "skip"}),
        "metrics": (model, {"x": x, "y": y}, {"optimizer": sgd, "metrics": {"accuracy": dl.metrics.accuracy}}),
        "stream": (model, lambda epoch, start: iter(batches[start:]), {"optimizer": sgd}),
        "ragged": (dl.models.text_rnn(16, 8, features=8, hidden=8), ragged(), {"optimizer": sgd}),
    }
    found = {}
    for name, (network, data, how) in kinds.items():
        how = asked | how
        if name == "stream":
            del how["batch_size"]
        one, expected = dl.fit(network, data, **how)
        for preset in ("data", "fsdp"):
            many = {"mesh": dl.mesh(data=8), "sharding": preset}
            s, history = dl.fit(network, data, **how, **many)
            history["seconds"] = expected["seconds"]
            found[f"{name}, {preset}"] = farthest((s.params, history), (one.params, expected))
    return found


def ragged():
    lengths = RANDOM.integers(1, 9, 44).astype("int32")
    return {"x": dl.Ragged(TOKENS, lengths), "y": LABELS}


def halves():
    """bfloat16 and float16 over a mesh: what the losses are beside those of one device."""
    model, x, y = mlp()
    data, asked = {"x": x.astype("float32"), "y": y}, {"epochs": 3, "batch_size": 16, "progress": False}
    asked |= {"loss": dl.losses.cross_entropy, "optimizer": optax.sgd(0.1)}
    found = {}
    for policy in ("bfloat16", "float16"):
        one = dl.fit(model, data, policy=policy, **asked)[1]["loss"]
        many = dl.fit(model, data, policy=policy, mesh=dl.mesh(data=8), sharding="fsdp", **asked)[1]["loss"]
        found[policy] = farthest(many, one)
    return found


def written():
    """The same ids on one device, with parameters on a mesh, and from a prompt that no eight devices can share."""
    model, x, _ = gpt()
    one = dl.train.create_state(model, optax.sgd(0.1), x)
    placed = placement_on("test", dl.mesh(data=2, model=4), ("fsdp", "tensor")).placed(one)
    same = []
    for prompt in (x[:8, :3], x[:3, :3]):
        how = {"temperature": 1.0, "key": jax.random.key(1)}
        ids = (dl.generate(model, s, prompt, 4, **how) for s in (one, placed))
        same.append(bool(np.array_equal(*ids)))
    return same


def saved(folder):
    """A run over eight devices that stops half-way, and goes on over four, one, and eight otherwise spread."""
    model, x, y = mlp()
    data, asked = {"x": x.astype("float32"), "y": y}, {"batch_size": 16, "progress": False}
    asked |= {"loss": dl.losses.cross_entropy, "optimizer": optax.sgd(0.1, momentum=0.9)}
    whole, _ = dl.fit(model, data, epochs=4, **asked)
    begun = {"mesh": dl.mesh(data=8), "sharding": "fsdp"}
    half, _ = dl.fit(model, data, epochs=2, checkpoint=dl.Checkpoint(folder), **begun, **asked)
    found = {}
    for name, where in {
        "one": {},
        "four": {"mesh": dl.mesh(data=4), "sharding": "fsdp"},
        "eight": {"mesh": dl.mesh(data=2, model=4), "sharding": "tensor"},
    }.items():
        shutil.copytree(folder, f"{folder}_{name}")
        s, history = dl.fit(model, data, epochs=2, checkpoint=f"{folder}_{name}", resume=True, **where, **asked)
        found[f"{name}, restored"] = farthest(s.params, half.params)
        s, _ = dl.fit(model, data, epochs=4, checkpoint=f"{folder}_{name}", resume=True, **where, **asked)
        found[f"{name}, gone on"] = farthest(s.params, whole.params)
    return found


GPT = ("data", "fsdp", "fsdp and tensor")


def edges():
    """What else may lie over a mesh, or be asked of one."""
    model, x, y = mlp()
    data = {"x": x[:32].astype("float32"), "y": y[:32]}
    asked = {"loss": dl.losses.cross_entropy, "optimizer": optax.sgd(0.1), "epochs": 2, "batch_size": 16}
    asked["progress"] = False
    one, _ = dl.fit(model, data, **asked)
    found = {}

    explicit = jax.NamedSharding(jax.make_mesh((8,), ("data",)), jax.P())
    other = one.replace(params=jax.device_put(one.params, explicit))
    found["explicit"] = farthest(dl.predict(model, other, data["x"]), dl.predict(model, one, data["x"]))

    programs = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: programs.append(name))
    for _ in range(2):
        programs.clear()
        s, _ = dl.fit(model, data, mesh=dl.mesh(data=8), sharding="fsdp", **asked)
    found["compiled again"] = sum("backend_compile" in name for name in programs)
    try:
        dl.fit(model, data, train_state=s, **asked)
    except ValueError as error:
        found["without a mesh"] = str(error)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        dl.fit(model, data, mesh=dl.mesh(data=8), **(asked | {"batch_size": 12}))
    found["does not divide"] = [str(warning.message) for warning in said]

    teach = dl.make_step(dl.supervised(model, dl.losses.cross_entropy), optax.sgd(0.1))
    pair = {"left": one, "right": dl.train.create_state(dl.sequential(L.flatten(), L.dense(8)), optax.sgd(0.1), x)}
    both = {
        "left": teach,
        "right": dl.make_step(
            dl.supervised(dl.sequential(L.flatten(), L.dense(8)), dl.losses.cross_entropy), optax.sgd(0.1)
        ),
    }

    def step(states, batch):
        done = {name: both[name](states[name], batch) for name in both}
        return {name: state for name, (state, _) in done.items()}, {
            "sum": sum(m["loss"].mean() for _, m in done.values())
        }

    rest = {"epochs": 2, "batch_size": 16, "progress": False}
    rules = {"mlp/dense/kernel": jax.P("data")}  # of one of the two
    many, _ = dl.run(step, pair, data, mesh=dl.mesh(data=8), sharding=rules, **rest)
    alone, _ = dl.run(step, pair, data, **rest)
    found["two states"] = farthest([many[name].params for name in both], [alone[name].params for name in both])
    found["rule"] = str(many["left"].params["mlp"]["dense"]["kernel"].sharding.spec)

    mapped = np.memmap(Path(tempfile.mkdtemp()) / "x", "float32", "w+", shape=data["x"].shape)
    mapped[:] = data["x"]
    read, _ = dl.fit(model, data | {"x": mapped}, mesh=dl.mesh(data=8), sharding="fsdp", **asked)
    found["mapped"] = farthest(read.params, one.params)
    try:
        bad = data["x"].copy()
        bad[3] = 3e38
        dl.fit(model, data | {"x": bad}, mesh=dl.mesh(data=8), sharding="fsdp", **asked)
    except dl.NonfiniteError as error:
        found["not finite"] = str(error).splitlines()[0]
    text, _, _ = program(mlp, {"data": 8}, "data", accumulate=2)
    found["rows of a part"] = sorted(set(map(int, re.findall(r"f32\[(\d+),16\]\S* dot\(", text))))
    return found


COLLECTIVE = re.compile(r"= .* (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def program(make, sizes, sharding, accumulate=1):
    """The compiled program of many steps, and the bytes of the train state on a device and in all."""
    model, x, y = make()
    loss_fn = dl.supervised(model, dl.losses.cross_entropy)
    step = dl.make_step(loss_fn, optimizer := optax.adam(1e-3), accumulate=accumulate)
    place = placement_on("test", dl.mesh(**sizes), sharding)
    s = place.created(model, optimizer, x[:1].astype("float32") if x.dtype.kind == "f" else x[:1], seed=0)
    data = place.data({"x": x[:32].astype("float32") if x.dtype.kind == "f" else x[:32], "y": y[:32]})
    order, key, where = place.order(np.arange(32, dtype=np.int32)[None]), jax.random.key(0), np.zeros(4, np.int32)
    totals = place.whole(zero_totals(step, None, None, s, data, order, key, placement=place))
    text = (
        train_program.lower(step, None, None, s, totals, data, order, key, where, placement=place).compile().as_text()
    )
    kept = dl.inspect.describe_sharding({"params": s.params, "optimizer": s.opt_state})
    return text, kept.bytes, kept.total


def collectives():
    """For each network and preset how often each collective stands in the program, and the share of the state."""
    found = {}
    for make, presets in {
        **dict.fromkeys((mlp, cnn, lstm), ("data", "fsdp")),
        gpt: GPT,
        moe: ("expert and fsdp",),
    }.items():
        for preset in presets:
            text, here, total = program(make, *PRESETS[preset])
            names = [match[1] for match in map(COLLECTIVE.search, text.splitlines()) if match]
            counts = {name: names.count(name) for name in sorted(set(names))}
            forward = sum(
                "all-reduce(" in line and "transpose(" not in line and "jvp(blocks)" in line
                for line in text.splitlines()
            )
            found[f"{make.__name__}, {preset}"] = counts | {"share": here / total, "forward in blocks": forward}
    return found


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    print(json.dumps(globals()[what](*words)))
