"""Where a run's arrays lie on a mesh: train states, data, and the batches inside of a program."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdl.core import LayerLike, bad_value, flat_paths, specs
from jaxdl.core.checks import check_seed
from jaxdl.core.processes import Team
from jaxdl.core.spread import Where
from jaxdl.sharding.layout import Layout, layout, without_data
from jaxdl.sharding.mesh import usable
from jaxdl.train.feed import Device
from jaxdl.train.state import TrainState, create_state

Lying = tuple[tuple[str, tuple[int, ...], PartitionSpec], ...]
"""``(path, shape, spec)`` of parameters."""


@dataclass(frozen=True)
class Spread(Device):
    """Batches spread over a mesh; equal to any other of an equal layout, so that programs find their twin.

    ``lying``: how the parameters lie that the batches meet.
    """

    layout: Layout
    lying: Lying = ()

    @property
    def team(self) -> Team:  # type: ignore[override]
        return self.layout.team

    def put(self, tree: Any, shardings: Any) -> Any:
        """The tree's arrays, of which each process has the whole or JAX has its parts, as the shardings say."""
        if self.team.count == 1:
            return jax.device_put(tree, shardings)
        return jax.tree.map(_put_here, tree, shardings)

    def whole(self, tree: Any) -> Any:
        """The tree's arrays on every device."""
        return self.put(tree, jax.tree.map(lambda _: self.layout.named(), tree))

    def data(self, data: Any) -> Any:
        return self.whole(data)  # so that any order takes nothing from another device

    def order(self, order: np.ndarray) -> Any:
        return self.put(order, self.layout.batch(order.shape, before=1))

    def share(self, size: int) -> slice:
        if self.team.count == 1:
            return slice(0, size)
        found = self.layout.batch((size,)).addressable_devices_indices_map((size,)).values()
        bounds = [index[0].indices(size) for index in found if index is not None]
        return slice(min(start for start, *_ in bounds), max(stop for _, stop, _ in bounds))

    def chunk(self, data: Any, room: int, size: int) -> tuple[Any, Any]:
        """Batch by batch, each spread over the devices: a process need hold no other's examples."""
        share = self.share(size)
        width = share.stop - share.start

        def put(leaf: np.ndarray) -> jax.Array:
            here = leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
            here, shape = here.reshape(room, width, *leaf.shape[1:]), (room, size, *leaf.shape[1:])

            def part(index: Any) -> np.ndarray:
                start, stop, _ = index[1].indices(size)
                return here[(index[0], slice(start - share.start, stop - share.start), *index[2:])]

            return jax.make_array_from_callback(shape, self.layout.batch(shape, before=1), part)

        return jax.tree.map(put, data), None

    def order_spec(self, shape: tuple[int, int]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=self.layout.batch(shape, before=1))

    def inputs(self, x: Any) -> Any:
        """Arrays of examples, each device with its own."""
        return self.put(x, jax.tree.map(lambda leaf: self.layout.batch(leaf.shape), x))

    def readable(self, tree: Any) -> Any:
        """A program's results, of which each process can read the whole."""
        return tree if self.team.count == 1 else self.whole(tree)

    def batch(self, batch: Any) -> Any:
        """Have a traced batch spread by its examples, and by positions where the mesh has an axis for them."""
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, self.layout.batch(leaf.shape)), batch)

    def everywhere(self, tree: Any) -> Any:
        """Have what is traced lie on every device whole, so that each process can read it."""
        return jax.lax.with_sharding_constraint(tree, self.layout.named())

    def state(self, tree: Any) -> Any:
        """What a traced step carries on, as it lies: here, as the compiler has it."""
        return tree

    def where(self, tree: Any) -> Where:
        """What the layers of a traced train state are told."""
        return _Where(self.layout, self.lying)


def _put_here(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array over devices of several processes: each puts its own part of what it has the whole of."""
    if not getattr(leaf, "is_fully_addressable", True):
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _put_here(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf).astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@dataclass(frozen=True)
class Placement(Spread):
    """As well the train state, over the mesh as the layout says."""

    def shardings(self, tree: Any) -> Any:
        """For each leaf its sharding: of each train state in the tree, or else of all leaves, as of parameters.

        What an optimizer keeps for a parameter, under its path and of its shape, lies as that does; what belongs to no
        parameter is on all devices whole.
        """
        nodes, structure = jax.tree.flatten(tree, is_leaf=_is_state)
        if not any(map(_is_state, nodes)):
            return self.layout.params(tree)
        return jax.tree.unflatten(structure, [self._of_node(node) for node in nodes])

    def _of_node(self, node: Any) -> Any:
        if not _is_state(node):
            return self.layout.named()
        params = self.layout.params(node.params)
        shapes = {path: leaf.shape for path, leaf in flat_paths(node.params).items()}
        lying = flat_paths(params)

        def of_optimizer(path: Any, leaf: Any) -> NamedSharding:
            parts = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
            ends = ("/".join(parts[start:]) for start in range(len(parts)))
            owner = next((end for end in ends if shapes.get(end) == leaf.shape), None)
            return self.layout.named() if owner is None else lying[owner]

        whole = jax.tree.map(lambda _: self.layout.named(), node)
        return whole.replace(params=params, opt_state=jax.tree.map_with_path(of_optimizer, node.opt_state))

    def placed(self, tree: Any) -> Any:
        """The tree's arrays where they belong; an error for a rule that matches none of them."""
        states = [node for node in jax.tree.leaves(tree, is_leaf=_is_state) if _is_state(node)]
        paths = [path for part in ([s.params for s in states] or [tree]) for path in flat_paths(part)]
        self.layout.check_rules(paths)
        return self.put(tree, self.shardings(tree))

    def created(self, model: LayerLike, optimizer: optax.GradientTransformation, x: Any, seed: int) -> TrainState:
        """What :func:`create_state` gives, made where it belongs: no device ever holds the whole of it."""
        leaves, tree = jax.tree.flatten(specs(x))
        key = jax.random.key(np.uint32(check_seed("create_state", seed)))
        create: Any = _creation
        made: TrainState = create(self, model, optimizer, (tuple(leaves), tree))(key)
        return made

    def state(self, tree: Any) -> Any:
        return jax.lax.with_sharding_constraint(tree, self.shardings(tree))

    def where(self, tree: Any) -> Where:
        states = [node for node in jax.tree.leaves(tree, is_leaf=_is_state) if _is_state(node)]
        return _Where(self.layout, sum((_lying(s.params, self.layout.params(s.params)) for s in states), ()))


@functools.lru_cache(maxsize=16)
def _creation(placement: Placement, model: LayerLike, optimizer: optax.GradientTransformation, spec: Any) -> Any:
    """The program that makes a train state where it belongs, once for all that are alike."""

    def create(key: jax.Array) -> TrainState:
        return create_state(model, optimizer, jax.tree.unflatten(spec[1], spec[0]), seed=key)

    made = jax.eval_shape(create, jax.eval_shape(lambda: jax.random.key(0)))
    placement.layout.check_rules(flat_paths(made.params))
    return jax.jit(create, out_shardings=placement.shardings(made))


def _lying(params: Any, shardings: Any) -> Lying:
    where = flat_paths(shardings)
    return tuple((path, leaf.shape, where[path].spec) for path, leaf in flat_paths(params).items())


@dataclass(frozen=True)
class _Where:
    """What layers are told: a parameter is to lie as it does, but not over ``data``, which examples are spread over."""

    layout: Layout
    lying: Lying

    def used(self, path: str, leaf: Any) -> NamedSharding | None:
        for other, shape, spec in self.lying:
            stacks = len(shape) - leaf.ndim  # of a stack a layer sees one member
            if other == path and stacks >= 0 and shape[stacks:] == leaf.shape:
                names = (*spec, *[None] * (len(shape) - len(spec)))[stacks:]
                used = tuple(map(without_data, names))
                return None if used == names else self.layout.named(*used)
        return None

    def batch(self, shape: tuple[int, ...], before: int = 0) -> NamedSharding:
        return self.layout.batch(shape, before)


def _is_state(node: Any) -> bool:
    return isinstance(node, TrainState)


def placement_on(call: str, mesh: Any, sharding: Any) -> Placement | None:
    """What ``mesh=…, sharding=…`` of a call asks for; None without a mesh."""
    if mesh is not None:
        return Placement(layout(call, mesh, sharding))
    if sharding != "data":
        raise bad_value(call, "sharding needs mesh=…", repr(sharding), "Did you mean mesh=dl.mesh(data=-1)?")
    return None


def spread_like(params: Any) -> Spread | None:
    """Batches spread over the mesh that some parameters lie on; None where they lie on one device."""
    where = {path: getattr(leaf, "sharding", None) for path, leaf in flat_paths(params).items()}
    named = {path: sharding for path, sharding in where.items() if isinstance(sharding, NamedSharding)}
    meshes = {sharding.mesh for sharding in named.values() if isinstance(sharding.mesh, Mesh)}
    if len(named) < len(where) or len(meshes) != 1 or (mesh := meshes.pop()).size == 1 or not usable(mesh):
        return None
    return Spread(layout("params", mesh, ()), _lying(params, jax.tree.map(lambda leaf: leaf.sharding, params)))
