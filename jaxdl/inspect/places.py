"""The places of a model at which values can be seen: the input and the output of each of its layers."""

import fnmatch
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jaxdl.core import LayerLike, Part, bad_type, bad_value, build, specs
from jaxdl.core.children import kind_of
from jaxdl.core.errors import trail
from jaxdl.core.layer import checked_result
from jaxdl.core.select import near
from jaxdl.core.watch import WATCH, watched

MEMBER = "[:]"
"""What a path ends with where one member of a stack is meant, and the values of all members are stacked."""


class Place(NamedTuple):
    """One layer of a model, a combinator or a leaf. A wrapper and what it wraps have one path, and are one place.

    **Fields** ``depth``: of how many stacks that have its path it is a member; ``stacks``: the number of members of
    each stack around it, outermost first.
    """

    path: str
    depth: int
    layer: LayerLike
    stacks: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.path + MEMBER * self.depth


def find_parts(model: LayerLike, x: Any) -> list[Part]:
    """The leaf layers of a model for inputs like ``x``, in order; nothing is computed."""
    parts: list[Part] = []

    def visit(key: jax.Array) -> Any:
        return build(model, key, specs(x), parts.append)[:2]

    jax.eval_shape(visit, jax.eval_shape(jax.random.key, 0))  # a spec alone, which leaves no trace in a caller's
    return parts


def places_of(parts: Sequence[Part]) -> tuple[Place, ...]:
    """All places in the order in which their outputs are there: a layer's parts before itself, the model last."""
    found: list[Place] = []
    around: list[Place] = []
    for part in parts:
        here = _chain(part)
        while around and around[-1] not in here:
            found.append(around.pop())
        around += here[len(around) :]
    return (*found, *reversed(around))


def _chain(part: Part) -> list[Place]:
    """The places that a part lies in, outermost first, and its own."""
    chain: dict[tuple[str, int], Place] = {}
    stacks: tuple[int, ...] = ()
    at = ("", 0)
    for path, layer in (*part.around, (part.path, part.layer)):
        at = (path, at[1] if at[0] == path else 0)
        chain.setdefault(at, Place(*at, layer, stacks))
        if is_stack(layer):
            stacks += (part.stacks[len(stacks)][1],)
            at = (path, at[1] + 1)
    return list(chain.values())


def is_stack(layer: Any) -> bool:
    """Whether the values within it have one more axis."""
    return getattr(layer, "kind", None) in ("repeat", "vmapped")


def choose(call: str, model: LayerLike, x: Any, paths: str | Sequence[str]) -> tuple[Place, ...]:
    """The places whose name matches a glob, or one of several; an error for one that matches nothing."""
    globs = (paths,) if isinstance(paths, str) else tuple(paths)
    if not globs or not all(isinstance(glob, str) for glob in globs):
        raise bad_type(call, "paths must be a glob, such as 'encoder/*', or several", paths)
    places = places_of(find_parts(model, x))
    names = [place.name for place in places]
    chosen: set[str] = set()
    for glob in globs:
        matched = {name for name in names if name == glob or fnmatch.fnmatchcase(name, glob)}
        if not matched:
            raise bad_value(call, f"paths={glob!r} must match a layer's path", f"paths such as {near(glob, names)}")
        chosen |= matched
    return tuple(place for place in places if place.name in chosen)


def asking(state: Any, places: Sequence[Place], moves: dict[str, Any] | None = None) -> Any:
    """The state that asks for these places, with what is to be added there, by name."""
    whole = dict(state)
    for place in places:
        here = whole
        for name in filter(None, place.path.split("/")):
            here[name] = dict(here.get(name, {}))
            here = here[name]
        here[WATCH * (place.depth + 1)] = (moves or {}).get(place.name, {"input": None, "output": None})
    return whole


def answers(state: Any, places: Sequence[Place]) -> dict[str, dict[str, Any]]:
    """The inputs and outputs by name, in order, as they came back in the state.

    A layer that a combinator runs by hand, not as one of its ``core.children.Children``, is not seen.
    """

    def at(place: Place) -> Any:
        here = state
        for name in filter(None, place.path.split("/")):
            here = here.get(name, {})
        return here.get(WATCH * (place.depth + 1))

    found = {place.name: at(place) for place in places}
    return {name: seen for name, seen in found.items() if seen is not None and seen["output"] is not None}


def without_answers(state: Any) -> Any:
    """The state as the model gives it to anybody."""
    kept = {name: leaf for name, leaf in state.items() if not name.startswith(WATCH)}
    bare = {name: without_answers(leaf) if isinstance(leaf, dict) else leaf for name, leaf in kept.items()}
    return {name: leaf for name, leaf in bare.items() if not (isinstance(leaf, dict) and not leaf)}


class Watched(NamedTuple):
    """The model, as a layer that can be watched itself: as if it were the only child of a combinator."""

    model: LayerLike

    @property
    def init(self) -> Callable[..., Any]:
        return self.model.init

    def apply(self, params: Any, state: Any, x: Any, /, *, train: bool, key: jax.Array | None = None) -> Any:
        def run(state: Any, x: Any) -> Any:
            return checked_result("apply", self.model.apply(params, state, x, train=train, key=key))

        try:
            return watched(run, state, x)
        except (TypeError, ValueError) as error:
            plain = functools.partial(self.model.apply, train=train, key=key)
            if not _runs(plain, params, without_answers(state), x):
                raise  # an error of the model's own
            needs = (
                "each layer must be one that can be seen into: a combinator that carries state through a loop by hand"
            )
            hint = "Did you mean to let core.children.Children apply it outside of such a loop, or paths without it?"
            where = f"{trail(error) or kind_of(self.model)!r}"
            raise bad_type("inspect", needs, where, hint) from error


def _runs(function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        jax.eval_shape(function, *arguments)
    except (TypeError, ValueError):
        return False
    return True


def in_order(places: Sequence[Place], outer: tuple[int, ...] = ()) -> Iterator[tuple[Place, tuple[int, ...]]]:
    """Each place with each index of its members, in the order of the computation: all of one member, then the next."""
    start = 0
    while start < len(places):
        place = places[start]
        if len(place.stacks) == len(outer):
            yield place, outer
            start += 1
            continue
        stop = start
        while stop < len(places) and len(places[stop].stacks) > len(outer):
            stop += 1
        for index in range(place.stacks[len(outer)]):
            yield from in_order(places[start:stop], (*outer, index))
        start = stop
