"""The training step over a mesh as ``fit`` runs it: compiled without any array, and what its program says.

Of a process with as many devices as the case has. The partitioned program comes from a file that XLA is told to write.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax import ShapeDtypeStruct

import jaxdl as dl
from benchmarks.machine import peak_megabytes
from benchmarks.scale.cases import PASS, Case, Size
from benchmarks.scale.collectives import step_collectives
from jaxdl import layers as L
from jaxdl.inspect import count_operations
from jaxdl.inspect.operations import inner_programs
from jaxdl.sharding import layout
from jaxdl.train.placement import Placement
from jaxdl.train.program import train_program, zero_totals

OPTIMIZER = optax.adam(1e-3)


def gpt(size: Size, remat: bool) -> dl.Layer:
    """The network of :func:`jaxdl.models.gpt`, with its layers computed anew for the gradient where that is asked."""
    model = dl.sequential(
        ("tokens", L.embedding(size.vocabulary, size.features)),
        ("positions", L.learned_positions(size.length)),
        ("blocks", dl.repeat(L.transformer_block(size.heads), size.layers, remat=remat)),
        ("norm", L.layer_norm()),
        ("logits", L.attend(size.vocabulary)),
    )
    return dl.tie(model, {"logits/embedding": "tokens/embedding"})


def step_of(model: dl.Layer, policy: str) -> Any:
    """The step that ``fit`` would make."""
    chosen = None if policy == "float32" else policy
    return dl.make_step(dl.supervised(model, dl.losses.cross_entropy, policy=chosen), OPTIMIZER)


def lowered(step: Any, place: Placement, state: Any, data: Any, order: Any) -> Any:
    """The program of many steps, of arrays or of specs with shardings."""
    key = on_all(place, jax.eval_shape(lambda: jax.random.key(0)))
    where = on_all(place, ShapeDtypeStruct((4,), np.int32))
    totals = on_all(place, zero_totals(step, None, None, state, data, order, key, placement=place))
    return train_program.lower(step, None, None, state, totals, data, order, key, where, placement=place)


def placed(mesh: dict[str, int], preset: str) -> Placement:
    """Where a train state lies over a mesh, by a preset or several with ``+`` between them."""
    return Placement(layout("scale", dl.mesh(**mesh), tuple(preset.split("+"))))


def on_all(place: Placement, tree: Any) -> Any:
    """Specs of what every device has the whole of."""
    everywhere = place.layout.named()
    return jax.tree.map(lambda leaf: ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), tree)


def described(case: Case, dumped: Path) -> dict[str, Any]:
    """Compile a case; what its program does and holds, as a record.

    **Args** ``dumped``: the folder where XLA writes the program after :data:`PASS`.
    """
    size, spec = case.size, ShapeDtypeStruct((case.examples, case.size.length), np.int32)
    model = gpt(size, case.remat)
    step = step_of(model, case.policy)
    place = placed(case.mesh, case.preset)
    state = jax.eval_shape(lambda: dl.train.create_state(model, OPTIMIZER, spec))
    shardings = place.shardings(state)
    state = jax.tree.map(lambda a, lies: ShapeDtypeStruct(a.shape, a.dtype, sharding=lies), state, shardings)
    batch = {"x": spec, "y": spec}
    began = time.perf_counter()
    program = lowered(step, place, state, on_all(place, batch), place.order_spec((1, case.examples)))
    traced = time.perf_counter()
    compiled = program.compile()
    done = time.perf_counter()
    (partitioned,) = dumped.glob(f"*_loop*after_{PASS}*")
    collectives = step_collectives(compiled.as_text(), partitioned.read_text(), case.devices)
    work, memory = count_operations(step, state, batch), compiled.memory_analysis()
    return {
        "case": case.as_json(),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "flops": work.flops,
        "products": work.products,
        "collectives": collectives,
        "bytes": {
            "parameters": bytes_on_one(state.params),
            "optimizer": bytes_on_one(state.opt_state),
            "activations": kept(jax.make_jaxpr(step)(state, batch), case),
            "logits": 2 * 4 * size.vocabulary * size.length * case.batch,
        },
        "compiled": {"arguments": memory.argument_size_in_bytes, "temporaries": memory.temp_size_in_bytes},
        "seconds": {"trace": traced - began, "compile": done - traced},
        "peak_megabytes": peak_megabytes(),
    }


def bytes_on_one(tree: Any) -> int:
    """Bytes on a device of specs with shardings."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)


def kept(program: Any, case: Case) -> int:
    """Bytes on a device of what the layers' forward pass hands to the backward one.

    Examples are spread over ``data``; over ``model`` what has an axis of heads or of hidden features.
    """
    total = 0
    for scan in forward_scans(program.jaxpr):
        for value in scan.outvars[scan.params["num_carry"] :]:
            shape = value.aval.shape
            split = case.ways if {case.size.heads, case.size.hidden} & set(shape) else 1
            total += math.prod(shape) * value.aval.dtype.itemsize // (case.mesh["data"] * split)
    return total


def forward_scans(program: Any) -> Iterator[Any]:
    """The loops that a program runs through from the first round to the last, but not loops in loops."""
    for equation in program.eqns:
        if equation.primitive.name != "scan":
            for inner, _ in inner_programs(equation):
                yield from forward_scans(inner)
        elif not equation.params["reverse"]:
            yield equation
