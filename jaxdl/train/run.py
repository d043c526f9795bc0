"""``run``: what a run is told, checked and brought together for the engine."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdl.core import bad_value
from jaxdl.core.checks import check_seed, is_int, positive_int
from jaxdl.core.processes import ALONE, Team, told_who_is_gone
from jaxdl.train.checkpoint import Checkpoint
from jaxdl.train.dispatch import Dispatcher
from jaxdl.train.engine import Engine, Evaluate
from jaxdl.train.evaluate import Evaluation
from jaxdl.train.events import Callback, History, check_callbacks
from jaxdl.train.feed import Feed, some_bytes
from jaxdl.train.guard import check_guard
from jaxdl.train.interrupt import catch_interrupt
from jaxdl.train.keeper import Keeper
from jaxdl.train.placement import Placement, placement_on, spread_like
from jaxdl.train.program import OnNonfinite, StepFn
from jaxdl.train.progress import Progress
from jaxdl.train.sources import open_feed
from jaxdl.train.state import owned
from jaxdl.train.step import Transform


def run(
    step: StepFn,
    train_state: Any,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    first_epoch: int = 0,
    remainder: str = "train",
    shuffle: bool = True,
    steps_per_epoch: int | None = None,
    evaluate: Evaluate | None = None,
    callbacks: Sequence[Callback] = (),
    transform: Transform | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool = False,
    consume: bool = False,
    on_nonfinite: OnNonfinite = "raise",
    mesh: Mesh | None = None,
    sharding: Any = "data",
) -> tuple[Any, History]:
    """Drive a step over epochs of data: ``step(train_state, batch) -> (train_state, metrics)``.

    Many steps run as one compiled program whose loop bounds are arguments: it is compiled once, and found again by a
    later run of an equal step. Ctrl-C ends the run after the program at hand and returns what is reached; a second
    one interrupts at once.

    With ``checkpoint`` the run is saved as it goes, on Ctrl-C and on SIGTERM (which then ends the process with code
    143). The same call with ``resume=True`` goes on from the last save, from the beginning where there is none, and
    comes to the same bits as a run that was never cut short.

    A step whose ``loss`` (the metric of that name) is not finite ends the program through its loop's condition, and
    :class:`NonfiniteError` names the step, the examples and, for a step of ``make_step(supervised(model, …))``, the
    layer; it holds the state before and the batch. So does a train state that is no longer finite where it was, which
    is looked at after each program, before it is saved. For that a copy of the state that a program begins with is
    kept: it costs the memory of one more, and one pass over it to copy and one to look, a program.

    **Args**
    ``train_state``: any pytree of arrays; the step gives back one like it. It is copied first, unless ``consume``.
    ``data``: a pytree of arrays (kept on the device and gathered there while they fit, else read in chunks, as memory
    maps always are); a source with ``len()`` and ``[index]``; a callable ``data(epoch, start)`` or an iterable that
    gives batches, of one shape but for a smaller last one, or of as many as its attribute ``kinds`` says. All but
    arrays are read ahead by a thread: a callable is asked for the next epoch while this one's callbacks run; a source
    that training and validation share is read from two threads, in turn if it is the same object; an iterator loses
    what was read ahead of a run that is stopped.
    ``batch_size``: examples a step, for all but streams of batches. ``remainder``: ``"train"`` on a smaller last batch,
    or ``"drop"`` it. ``seed``, ``first_epoch``: the order of an epoch is a function of the seed and its number.
    ``steps_per_epoch``: where an epoch of a stream ends, if not with the stream.
    ``evaluate``: called with the train state after each epoch; the figures by name that it gives go into the history,
    under names that begin with ``validation_``.
    ``transform``: ``(batch, key) -> batch``, inside of the program: uint8 to float, or augmentation; pure. The key is
    None where nothing may be augmented: in evaluation, and where only shapes are asked for.
    ``checkpoint``: a folder, or a :class:`Checkpoint` that says how often and what is kept. ``resume``: go on from what
    is there; the data must be ones that can begin in the middle: a bare iterator cannot, and an iterable is read up to
    there, so it must give the same batches in the same order each time.
    ``callbacks``: each is called with an :class:`Event`, and returns None, or a :class:`Stop` to end the run. Of
    several processes each calls them, but one with a true attribute ``writes`` the first process alone.
    ``progress``: a bar and a table on a terminal, else plain lines.
    ``mesh``: devices to spread each batch over, such as ``dl.mesh(data=-1)``; the result is that of one device, within
    rounding. A batch that does not divide is on all of them whole. ``sharding``: how the train state lies there:
    ``"data"`` on all whole, ``"fsdp"``, ``"tensor"``, ``"expert"``, rules of one's own, or several of these
    (:func:`jaxdl.sharding.layout`). Arrays that fit are whole on each device; of what is read in chunks each has its
    share. Where the mesh is of several processes (``python -m jaxdl.launch``), all call this with the same: each reads
    its share of a source or a memory map (of a stream, all of it, and keeps its share), the first one prints and tells
    callbacks that have ``writes``, and the folder of checkpoints must be one that all reach.
    ``on_nonfinite``: ``"raise"``; ``"skip"``, which takes a step back inside the program, whatever the step: the state
    stays as it was (also what counts steps in it, so give ``first_epoch`` when going on from there), its metrics have
    no weight, and a metric ``skipped`` counts them; or None, which does not ask and costs nothing. A step without a
    metric ``loss`` is not watched, nor is the evaluation.

    **Returns** the train state, and the history: for each epoch ``epoch``, ``steps``, ``seconds`` (of training) and the
    metrics' means; an epoch that was cut short has None for what was not evaluated.

    **Raises** ``ValueError`` for data that are empty, of unequal lengths or not finite, or a batch larger than the
    data; ``NonfiniteError``, see above; ``MemoryError`` for a program that does not fit into the device's memory.

    Example:
        >>> import jax.numpy as jnp
        >>> def step(mean, batch):                       # a running mean, as the smallest of steps
        ...     return 0.9 * mean + 0.1 * batch.mean(), {"seen": batch.mean()}
        >>> mean, history = run(step, jnp.zeros(()), jnp.ones((8, 2)), epochs=3, batch_size=4, progress=False)
        >>> round(float(mean), 4), history["seen"]
        (0.4686, [1.0, 1.0, 1.0])
    """
    feed = open_feed(
        "run",
        data,
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        remainder=remainder,
        steps_per_epoch=steps_per_epoch,
    )
    return drive(
        step,
        train_state,
        feed,
        epochs=epochs,
        seed=seed,
        first_epoch=first_epoch,
        evaluate=evaluate,
        callbacks=callbacks,
        transform=transform,
        progress=progress,
        checkpoint=checkpoint,
        resume=resume,
        consume=consume,
        on_nonfinite=on_nonfinite,
        placement=placement_on("run", mesh, sharding),
    )


def drive(
    step: StepFn,
    train_state: Any,
    feed: Feed,
    *,
    epochs: int,
    seed: int = 0,
    first_epoch: int = 0,
    evaluate: Evaluate | None = None,
    callbacks: Sequence[Callback] = (),
    transform: Transform | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool = False,
    consume: bool = False,
    on_nonfinite: OnNonfinite = "raise",
    placement: Placement | None = None,
) -> tuple[Any, History]:
    """What :func:`run` does, once its data are a feed."""
    positive_int("run", "epochs", epochs)
    if not is_int(first_epoch) or first_epoch < 0:
        raise bad_value("run", "first_epoch must be an int of 0 or more", first_epoch)
    feed.check_epochs("run", epochs)
    if resume and checkpoint is None:
        raise bad_value("run", "resume=True needs checkpoint=…, the folder to go on from", None)
    listeners = check_callbacks(callbacks)
    team = _team(placement)
    told = epochs, seed, first_epoch, resume, on_nonfinite, _settings(checkpoint), evaluate is None, transform is None
    team.check_same("run", "what it is told, but for functions,", [repr((told, placement)).encode()])
    with ExitStack() as stack:
        interrupt = stack.enter_context(catch_interrupt(terminate=checkpoint is not None))
        beside = stack.enter_context(ThreadPoolExecutor(1))
        keeper = None
        if checkpoint is not None:
            settings = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
            keeper = stack.enter_context(Keeper(settings, team, resume=resume, seed=seed, feed=feed))
        listeners = [listener for listener in listeners if team.is_first or not getattr(listener, "writes", False)]
        if progress and team.is_first:
            listeners.append(stack.enter_context(Progress()))
        key = jax.random.key(np.uint32(check_seed("run", seed)))
        guard = check_guard(on_nonfinite)
        feed.finite = guard != "skip"
        dispatcher = Dispatcher("run", step, transform, feed, key=key, beside=beside, guard=guard, placement=placement)
        if placement is None and spread_like(train_state) is not None:
            hint = "Did you mean mesh=…, sharding=…, as it was trained with?"
            raise bad_value("run", "a train state that lies over a mesh needs mesh=…", None, hint)
        state = owned(train_state, consume)
        team.check_same("run", "the data and batch_size", _marks(feed, evaluate))
        team.check_same("run", "the train state", some_bytes(state))
        if placement is not None:
            state, feed.device = placement.placed(state), placement
        engine = Engine(state, feed, dispatcher, listeners, interrupt, keeper, team)
        with told_who_is_gone("run", team):
            result = engine.drive(range(first_epoch, first_epoch + epochs), evaluate)
    if engine.terminated:
        if team.is_first:
            print("SIGTERM: saved; resume=True goes on from here", file=sys.stderr, flush=True)
        raise SystemExit(128 + signal.SIGTERM)
    return result


def _team(placement: Placement | None) -> Team:
    """The processes that run it together; a warning where each of several would do the whole of it."""
    if placement is not None:
        return placement.team
    if jax.process_count() > 1:
        text = f"run: each of the {jax.process_count()} processes trains by itself. Did you mean mesh=dl.mesh(data=-1)?"
        warnings.warn(text, stacklevel=4)
    return ALONE


def _settings(checkpoint: Any) -> Checkpoint | None:
    """How and when a run is saved, wherever that is."""
    if checkpoint is None:
        return None
    return replace(checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint), folder="")


def _marks(feed: Feed, evaluate: Evaluate | None) -> Iterator[bytes]:
    """What tells data from others."""
    yield from feed.marks()
    if isinstance(evaluate, Evaluation):
        yield from evaluate.feed.marks()
