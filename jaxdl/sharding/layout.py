"""Where parameters and batches lie on a mesh."""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxdl.core import bad_type, bad_value, flat_paths
from jaxdl.core.processes import Team, team_of
from jaxdl.core.select import matches, near
from jaxdl.sharding.mesh import check_mesh
from jaxdl.sharding.presets import PRESETS, Names

CALL = "sharding"
Rules = tuple[tuple[str, PartitionSpec], ...]


@dataclass(frozen=True)
class Layout:
    """A mesh, and how parameters lie on it: by presets, and by rules of one's own, which go before them."""

    mesh: Mesh
    presets: tuple[str, ...]
    rules: Rules = ()

    @property
    def examples(self) -> tuple[str, ...]:
        """The axes of the mesh over which the examples of a batch are spread."""
        return tuple(name for name in ("data", "expert") if name in self.mesh.axis_names)

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut."""
        return math.prod(self.mesh.shape[name] for name in self.examples)

    @functools.cached_property
    def team(self) -> Team:
        """The processes that its devices are of."""
        return team_of("mesh", self.mesh.devices.flat)

    def named(self, *spec: Any) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*spec))

    def params(self, params: Any) -> Any:
        """For each parameter its :class:`~jax.sharding.NamedSharding`; ``ValueError`` for a rule that does not divide
        one."""
        specs = [self.spec(path, leaf.shape) for path, leaf in flat_paths(params).items()]
        return jax.tree.unflatten(jax.tree.structure(params), [NamedSharding(self.mesh, spec) for spec in specs])

    def check_rules(self, paths: Iterable[str]) -> None:
        """Raise for a rule that none of the paths matches."""
        known = list(paths)
        for pattern, _ in self.rules:
            if not any(matches(path, pattern) for path in known):
                got = f"paths such as {near(pattern, known)}"
                raise bad_value(CALL, f"the rule {pattern!r} must match a path", got)

    def batch(self, shape: tuple[int, ...], before: int = 0) -> NamedSharding:
        """How an array lies whose axis ``before`` holds examples, and the next one the positions of a sequence.

        An axis that does not divide is on all devices whole.
        """
        spec: list[Any] = [None] * len(shape)
        if len(shape) > before and shape[before] % self.parts == 0:
            spec[before] = self.examples
        along = before + 1
        if "sequence" in self.mesh.axis_names and len(shape) > along:
            spec[along] = "sequence" if shape[along] % self.mesh.shape["sequence"] == 0 else None
        return self.named(*spec)

    def spec(self, path: str, shape: tuple[int, ...]) -> PartitionSpec:
        """How the parameter of that path and shape lies."""
        for pattern, spec in self.rules:
            if matches(path, pattern):
                return self._checked(path, shape, pattern, spec)
        names: Names = [None] * len(shape)
        for preset, (_, rule) in PRESETS.items():
            if rule is not None and preset in self.presets:
                rule(path, shape, names, dict(self.mesh.shape))
        return PartitionSpec(*names)

    def _checked(self, path: str, shape: tuple[int, ...], pattern: str, spec: PartitionSpec) -> PartitionSpec:
        """A rule's spec, or an error that says why it does not suit the parameter."""
        said = f"the rule {pattern!r}: {spec}"
        if len(spec) > len(shape):
            needs = f"{said} must have at most as many entries as {path} has axes, {len(shape)}"
            raise bad_value(CALL, needs, f"{len(spec)} of them")
        used: list[str] = []
        for axis, entry in enumerate(spec):
            names = entry if isinstance(entry, tuple) else (entry,) if entry else ()
            if any(not isinstance(name, str) for name in names) or set(names) & set(used):
                needs = f"{said} must be of names of the mesh's axes, each once, and of None"
                raise bad_value(CALL, needs, repr(spec))
            used += names
            if unknown := set(names) - set(self.mesh.axis_names):
                needs = f"{said} must name axes of the mesh, {', '.join(self.mesh.axis_names)}"
                raise bad_value(CALL, needs, ", ".join(sorted(unknown)))
            parts = math.prod(self.mesh.shape[name] for name in names)
            if shape[axis] % parts:
                needs = f"{said} must divide axis {axis} of {path} by {parts}"
                raise bad_value(CALL, needs, f"the shape {list(shape)}")
        return spec


def without_data(entry: Any) -> Any:
    """An entry of a spec, as of a parameter that is gathered from over ``data``."""
    names = entry if isinstance(entry, tuple) else (entry,)
    return entry if "data" not in names else tuple(name for name in names if name != "data") or None


def layout(call: str, given: Any, sharding: Any) -> Layout:
    """The layout that ``mesh=…, sharding=…`` of a call means: of :func:`jaxdl.fit`, :func:`jaxdl.run` and the like.

    ``sharding`` says how parameters lie, and what the optimizer keeps for each beside it:

    - ``"data"``: all on each device. Each computes a share of the batch, and gradients are added up once a step.
    - ``"fsdp"``: each parameter spread over ``data``, by its largest axis that divides. A layer gathers what is its own
      when it is at work, and once more for its gradient: of a stack of layers (:func:`jaxdl.repeat`) a device holds one
      at a time. Elsewhere a compiler may keep what was gathered; XLA's for CPU does.
    - ``"tensor"``: over ``model`` the attention and feed-forward parts of a transformer, the dense layers of an MLP,
      tables of tokens, and logits: columns, and then rows, so that a pair of them adds up over the devices once.
    - ``"expert"``: over ``expert`` the experts of :func:`jaxdl.mixture_of_experts`.
    - ``{glob of paths: PartitionSpec}``: as it says. A glob that matches no parameter, or an axis that does not divide,
      is an error; in what is above, an axis that does not divide is whole on each device.
    - several of these in a tuple: ``("fsdp", "tensor")`` over ``mesh(data=…, model=…)``. Rules of one's own go first.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jax.sharding import PartitionSpec as P
        >>> from jaxdl.sharding import mesh
        >>> params = {"dense": {"kernel": jnp.zeros((4, 6)), "bias": jnp.zeros(6)}}
        >>> lying = layout("fit", mesh(data=1), ("fsdp", {"*/bias": P()})).params(params)
        >>> tuple(lying["dense"]["kernel"].spec), tuple(lying["dense"]["bias"].spec)
        ((None, 'data'), ())

    **References** Rajbhandari et al., ZeRO: memory optimizations toward training trillion parameter models, 2019
    (fsdp); Shoeybi et al., Megatron-LM, 2019 (tensor); Lepikhin et al., GShard, 2020 (expert).
    """
    mesh = check_mesh(call, given)
    presets: list[str] = []
    rules: Rules = ()
    for part in sharding if isinstance(sharding, list | tuple) else (sharding,):
        if isinstance(part, Mapping):
            rules += tuple(_rules(call, part))
        elif isinstance(part, str) and part in PRESETS:
            presets.append(part)
        else:
            needs = f"sharding must be of {', '.join(map(repr, PRESETS))}, or rules {{glob: PartitionSpec}}, or a tuple"
            raise bad_value(call, needs, repr(part))
    for preset in presets:
        axis = PRESETS[preset][0]
        if axis not in mesh.axis_names:
            needs = f"sharding={preset!r} needs a mesh with an axis {axis}"
            raise bad_value(call, needs, f"the axes {', '.join(mesh.axis_names)}", f"Did you mean dl.mesh({axis}=…)?")
    return Layout(mesh, tuple(name for name in PRESETS if name in presets), rules)


def _rules(call: str, rules: Mapping[Any, Any]) -> Any:
    for pattern, spec in rules.items():
        if not isinstance(pattern, str) or not isinstance(spec, PartitionSpec):
            needs = "the rules of sharding must be {glob of paths: jax.sharding.PartitionSpec}"
            raise bad_type(call, needs, f"{pattern!r}: {spec!r}")
        yield pattern, spec
