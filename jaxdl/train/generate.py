"""Writing on from a prompt, one id after the other."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.core import LayerLike, Ragged, bad_type, bad_value
from jaxdl.core.checks import check_lengths, is_int, positive_int
from jaxdl.core.layer import decoding_of
from jaxdl.functional import last_step, sample
from jaxdl.functional.sampling import check_temperature, check_top_p
from jaxdl.train.placement import spread_like
from jaxdl.train.precision import cast, check_policy
from jaxdl.train.program import finite_leaves
from jaxdl.train.state import TrainState

CALL = "generate"


def generate(
    model: LayerLike,
    train_state: TrainState,
    prompt: Any,
    steps: int,
    *,
    key: jax.Array | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    policy: str | None = None,
) -> np.ndarray:
    """The ids that a model writes after each prompt, as a NumPy array; the prompt is not repeated.

    The model gives scores for the next id at each position. It reads the prompt once (``prefill``), then each id as it
    is drawn (``decode``, over the cache), in one program: an equal model with prompts of an equal shape compiles
    nothing, whatever the temperature. What a row comes to depends on the key, its own prompt and its place in the
    batch, not on the other rows.

    **Shapes** ``prompt: (batch, time)`` of integers, ragged where prompts differ in length, or a tuple of that and what
    else the model reads once, such as ``(target, source)`` of an encoder-decoder, whose ``decode`` takes ids alone ``->
    (batch, steps)`` of int32.

    **Args** ``key``, ``temperature``, ``top_k``, ``top_p``: as in :func:`jaxdl.functional.sample`; a temperature of 0
    needs no key. ``stop``: an id that ends a row, which then holds it to the end. ``policy``: as in :func:`predict`.

    **Raises** ``TypeError`` for a model that cannot read piece by piece, ``ValueError`` for a prompt that with
    ``steps`` is longer than the positions of the model, for an empty one, for a ``stop`` that the model cannot write,
    and where scores come to nan, as they do for ids out of range and for params that are not finite.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from jaxdl import combine, layers, train
        >>> model = combine.sequential(layers.embedding(5, 8), layers.gru(16), layers.dense(5))
        >>> prompt = jnp.array([[1, 2, 3]])
        >>> s = train.create_state(model, optax.sgd(0.1), prompt)
        >>> generate(model, s, prompt, 10, key=jax.random.key(0), temperature=0.8, top_k=3).shape
        (1, 10)

    **References** Graves, Generating sequences with recurrent neural networks, 2013; for temperature and what is left
    out, :func:`jaxdl.functional.sample`.
    """
    decoding_of(model)
    positive_int(CALL, "steps", steps)
    check_policy(CALL, policy)
    _check_prompt(prompt[0] if isinstance(prompt, tuple) and prompt else prompt)
    choice = _choice(key, temperature, top_k, top_p, stop)
    spread = spread_like(train_state.params)
    if spread is not None:
        prompt, choice = spread.inputs(prompt), spread.whole(choice)
    fixed = int(steps), None if top_k is None else int(top_k), policy
    try:
        written, ids, bad = _write(model, fixed, train_state.params, train_state.state, prompt, choice)
        written, bad = (written, bad) if spread is None else spread.readable((written, bad))
    except (TypeError, ValueError) as error:
        error.add_note(f"  in generate, for {steps} steps after the prompt")
        raise
    if bad:
        hint = _why_nan(train_state.params, prompt, ids)
        raise bad_value(CALL, "the scores of the model must be numbers", "nan", hint)
    if stop is not None and stop >= ids:
        raise bad_value(CALL, f"stop must be one of the model's ids, 0 to {ids - 1}", stop)
    return np.array(written)  # the caller's own, and not read-only


class _Choice(NamedTuple):
    """How ids are drawn, as arrays: another number is no other program. A temperature of None takes the highest."""

    key: Any
    temperature: Any
    top_p: Any
    stop: Any


def _choice(key: Any, temperature: Any, top_k: Any, top_p: Any, stop: Any) -> _Choice:
    """What :func:`generate` was told, checked."""
    warm = check_temperature(CALL, temperature) != 0
    if warm and key is None:
        hint = "Did you mean key=jax.random.key(0), or temperature=0?"
        raise bad_value(CALL, f"a temperature of {temperature} needs a key", None, hint)
    if top_k is not None:
        positive_int(CALL, "top_k", top_k)
    if top_p is not None:
        check_top_p(CALL, "top_p", top_p)
    if stop is not None and (not is_int(stop) or int(stop) < 0):
        raise bad_value(CALL, "stop must be an id, 0 or greater", stop)
    end = None if stop is None else jnp.asarray(stop, jnp.int32)
    if not warm:
        return _Choice(None, None, None, end)
    share = None if top_p is None else jnp.asarray(top_p, jnp.float32)
    return _Choice(key, jnp.asarray(temperature, jnp.float32), share, end)


def _check_prompt(prompt: Any) -> None:
    """Raise unless it is integers of shape (batch, time), with at least one real one in each row."""
    array = prompt.x if isinstance(prompt, Ragged) else prompt
    if not hasattr(array, "dtype") or not jnp.issubdtype(array.dtype, jnp.integer):
        raise bad_type(CALL, "prompt must be an array of integers, (batch, time)", prompt, "Did you mean np.array(…)?")
    if array.ndim != 2 or not array.size:
        hint = "Did you mean prompt[None]?" if array.ndim == 1 else ""
        raise bad_value(CALL, "prompt must have shape (batch, time), with at least one position", prompt, hint)
    if isinstance(prompt, Ragged):
        check_lengths(CALL, prompt.lengths, array)
        if (least := int(np.min(prompt.lengths))) < 1:
            raise bad_value(CALL, "each prompt must have at least one position", f"lengths from {least}")


def _why_nan(params: Any, prompt: Any, ids: int) -> str:
    """What the likely cause of scores of nan is."""
    if not finite_leaves(params).all():
        return "The params hold numbers that are not finite: was it training that came to them?"
    beside = ", or is an input beside it out of its range" if isinstance(prompt, tuple) and len(prompt) > 1 else ""
    return f"Did you mean a prompt of ids from 0 to {ids - 1}{beside}?"


@functools.partial(jax.jit, static_argnums=(0, 1))
def _write(
    model: Any, fixed: tuple[int, int | None, str | None], params: Any, state: Any, prompt: Any, choice: _Choice
) -> tuple[jax.Array, int, jax.Array]:
    """What is written, how many ids there are, and whether a score was nan."""
    steps, top_k, policy = fixed
    if policy is not None:
        params, prompt = cast(params, jnp.dtype(policy)), cast(prompt, jnp.dtype(policy))
    first = prompt[0] if isinstance(prompt, tuple) else prompt
    batch, time = (first.x if isinstance(first, Ragged) else first).shape
    y, cache = model.prefill(params, state, prompt, length=time + steps - 1)
    scores = _last(y)
    if scores.ndim != 2 or not jnp.issubdtype(scores.dtype, jnp.floating):
        raise bad_value(CALL, "the model must give scores (batch, time, ids)", y)
    end = choice.stop if choice.stop is not None else jnp.int32(-1)
    keys = None if choice.key is None else jax.vmap(jax.random.fold_in, (None, 0))(choice.key, jnp.arange(batch))

    def draw(i: Any, scores: jax.Array, done: jax.Array) -> jax.Array:
        if keys is None:
            ids = sample(None, scores, temperature=0)
        else:
            how = functools.partial(sample, temperature=choice.temperature, top_k=top_k, top_p=choice.top_p)
            ids = jax.vmap(lambda key, row: how(jax.random.fold_in(key, i), row))(keys, scores)
        return jnp.where(done, end, ids)

    def going(loop: tuple[Any, ...]) -> jax.Array:
        i, _, _, done, _ = loop
        return (i < steps) & ~done.all()

    def body(loop: tuple[Any, ...]) -> tuple[Any, ...]:
        i, written, cache, done, bad = loop
        ids = lax.dynamic_slice_in_dim(written, i - 1, 1, axis=1)
        y, cache = model.decode(params, cache, ids)
        scores = _last(y)
        ids = draw(i, scores, done)
        return i + 1, written.at[:, i].set(ids), cache, done | (ids == end), bad | jnp.isnan(scores).any()

    ids = draw(0, scores, jnp.zeros(batch, bool))
    written = jnp.full((batch, steps), end, jnp.int32).at[:, 0].set(ids)
    loop = (jnp.int32(1), written, cache, ids == end, jnp.isnan(scores).any())
    _, written, _, _, bad = lax.while_loop(going, body, loop)
    return written, scores.shape[-1], bad


def _last(y: Any) -> jax.Array:
    """The scores at the last real position of each row."""
    return last_step(y.x, y.lengths) if isinstance(y, Ragged) else last_step(y)
