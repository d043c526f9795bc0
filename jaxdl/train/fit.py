"""Training a model in one call."""

import difflib
import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from jaxdl.core import LayerLike, bad_type, bad_value
from jaxdl.core.checks import positive_int
from jaxdl.core.show import function_name
from jaxdl.train.class_weight import ClassWeight, balanced
from jaxdl.train.evaluate import Evaluation, evaluation_feed, named_batch, transformed, watch_targets
from jaxdl.train.events import History
from jaxdl.train.feed import Feed
from jaxdl.train.placement import placement_on
from jaxdl.train.precision import LossScale, check_policy, is_scaled, loss_scaled
from jaxdl.train.run import drive
from jaxdl.train.sources import open_feed
from jaxdl.train.state import TrainState, check_state, create_state
from jaxdl.train.step import Transform, make_step
from jaxdl.train.supervised import Supervised, supervised


def fit(
    model: LayerLike,
    data: Any,
    *,
    loss: Callable[[Any, Any], Any],
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int | None = None,
    validation: Any = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    penalty: Callable[[Any], jax.Array] | None = None,
    train_state: TrainState | None = None,
    log_norms: bool = False,
    seed: int = 0,
    remainder: str = "train",
    shuffle: bool = True,
    steps_per_epoch: int | None = None,
    first_epoch: int | None = None,
    transform: Transform | None = None,
    policy: str | None = None,
    accumulate: int = 1,
    class_weight: ClassWeight | None = None,
    mesh: Mesh | None = None,
    sharding: Any = "data",
    **run_arguments: Any,
) -> tuple[TrainState, History]:
    """Train a model on data, whole epochs as compiled programs; returns the train state and the history.

    It is :func:`run` over ``make_step(supervised(model, loss, …), optimizer)``; a second call with an equal model and
    the same loss and optimizer compiles nothing.

    **Args**
    ``data``: ``{"x", "y"}``, with ``"weight"`` where examples count unequally, or ``(x, y)``: arrays, or any source
    that :func:`run` takes. ``validation``: the like, measured after each epoch under names that begin with
    ``validation_``. ``loss``: ``(prediction, y) ->`` a value for each example. ``metrics``: by name, functions of the
    same form, or those of :mod:`jaxdl.metrics`. ``penalty``: a function of the parameters that is added to the loss,
    such as :func:`jaxdl.penalties.l2`. ``optimizer``: from optax.
    ``train_state``: where to go on from, for ``epochs`` more; the epochs count on, so that 2 and 3 epochs equal 5
    (``first_epoch`` says so where the length of an epoch is unknown).
    ``policy``: ``"bfloat16"`` or ``"float16"`` computes the model in that, over weights, state and losses in float32;
    float16 with a dynamic loss scale around the optimizer, whose steps that overflow are skipped and counted
    (:func:`jaxdl.train.loss_scaled`). Give :func:`evaluate` and :func:`predict` the same.
    ``accumulate``: compute each batch in so many parts, to the same gradient in less memory (:func:`make_step`).
    ``class_weight``: ``{label: weight}``, an array, or ``"balanced"``: ``n / (k · count)`` for ``n`` labels of ``k``
    classes, as in scikit-learn, counted over data that are arrays. For the training loss alone: :func:`supervised`.
    ``log_norms``: report the gradient's and the parameters' norms. ``seed``: of the initial values, the dropout and the
    order. The rest is as in :func:`run`.

    **Raises** ``ValueError`` for data or labels that the loss cannot take, before anything is compiled.

    Example:
        >>> import jax, optax, jaxdl as dl
        >>> train, test = dl.data.digits()
        >>> model = dl.sequential(dl.layers.flatten(), dl.layers.dense(10))
        >>> trained, history = dl.fit(model, train, loss=dl.losses.cross_entropy, optimizer=optax.adam(1e-2), epochs=5,
        ...     batch_size=32, validation=test, metrics={"accuracy": dl.metrics.accuracy}, progress=False)
        >>> history["epoch"], history["validation_accuracy"][-1] > 0.9
        ([1, 2, 3, 4, 5], True)
    """
    _check_kinds(model, loss, optimizer, metrics, penalty, train_state)
    _check_names(run_arguments)
    if check_policy("fit", policy) == "float16":
        optimizer = _scaled(optimizer, train_state)
    if isinstance(class_weight, str) and class_weight == "balanced":
        class_weight = balanced("fit", data)
    loss_fn = supervised(model, loss, metrics=metrics, penalty=penalty, policy=policy, class_weight=class_weight)
    feed = open_feed(
        "fit",
        data,
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffle,
        remainder=remainder,
        steps_per_epoch=steps_per_epoch,
        prepare=functools.partial(named_batch, "fit"),
    )
    _check_accumulate(accumulate, batch_size)
    placement = placement_on("fit", mesh, sharding)
    if train_state is None:
        x = transformed(transform, feed.example())["x"]
        train_state = (placement.created if placement else create_state)(model, optimizer, x, seed=seed)
        run_arguments["consume"] = True
    else:
        check_state("fit", optimizer, train_state)
        first_epoch = _next_epoch(feed, train_state) if first_epoch is None else first_epoch
    watch_targets(feed, loss_fn, train_state, transform, loss_fn.class_weight)
    evaluate = None if validation is None else _evaluation(validation, epochs, loss_fn, train_state, transform)
    if evaluate is not None and validation is data:
        feed.reading = evaluate.feed.reading = threading.Lock()
    return drive(
        make_step(loss_fn, optimizer, accumulate=accumulate, log_norms=log_norms),
        train_state,
        feed,
        epochs=epochs,
        seed=seed,
        first_epoch=first_epoch or 0,
        evaluate=evaluate,
        transform=transform,
        placement=placement,
        **run_arguments,
    )


def _scaled(optimizer: optax.GradientTransformation, train_state: TrainState | None) -> Any:
    """The optimizer, with a dynamic loss scale around it; an error for a train state that has none."""
    if is_scaled(optimizer):
        return optimizer
    if train_state is not None and not isinstance(train_state.opt_state, LossScale):
        needs = 'with policy="float16" the train_state must be one of an optimizer that scales the loss'
        hint = "Did you mean optimizer=dl.train.loss_scaled(optimizer), here and for the opt_state of train_state?"
        raise bad_value("fit", needs, "one of another", hint)
    return loss_scaled(optimizer)


def _evaluation(
    data: Any, epochs: int, loss_fn: Supervised, train_state: TrainState, transform: Transform | None
) -> Evaluation:
    """What measures the validation's data."""
    feed = evaluation_feed("fit(validation=…)", data, 256)
    feed.check_epochs("fit(validation=…)", epochs)
    watch_targets(feed, loss_fn, train_state, transform)
    return Evaluation("fit(validation=…)", loss_fn, feed, transform)


def _next_epoch(feed: Feed, train_state: TrainState) -> int:
    """The epoch that a train state goes on with."""
    if feed.steps is None and feed.numbered:
        needs = "first_epoch must be given to go on with a callable, whose epochs have no known length"
        raise bad_value("fit", needs, None)
    return int(train_state.step) // feed.steps if feed.steps else 0


def _check_accumulate(accumulate: Any, batch_size: int | None) -> None:
    if positive_int("fit", "accumulate", accumulate) > (batch_size or accumulate):
        raise bad_value("fit", f"accumulate must be at most the batch_size, {batch_size}", accumulate)


def _check_kinds(model: Any, loss: Any, optimizer: Any, metrics: Any, penalty: Any, train_state: Any) -> None:
    """Raise for an argument of the wrong kind, by its name."""
    if not (hasattr(model, "init") and hasattr(model, "apply")):
        hint = f"Did you mean {function_name(model)}(…)?" if callable(model) else "Did you mean dl.sequential(…)?"
        raise bad_type("fit", "model must be a layer", model, hint)
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        hint = f"Did you mean {function_name(optimizer)}(learning_rate)?" if callable(optimizer) else ""
        raise bad_type("fit", "optimizer must be one of optax, such as optax.adam(1e-3)", optimizer, hint)
    if not callable(loss):
        raise bad_type("fit", "loss must be a function, such as dl.losses.cross_entropy", loss)
    if penalty is not None and not callable(penalty):
        raise bad_type("fit", "penalty must be a function of the parameters, such as dl.penalties.l2(1e-4)", penalty)
    if metrics is not None and not (isinstance(metrics, Mapping) and all(map(callable, metrics.values()))):
        raise bad_type("fit", "metrics must be functions by name, such as {'accuracy': dl.metrics.accuracy}", metrics)
    if train_state is not None and not isinstance(train_state, TrainState):
        raise bad_type("fit", "train_state must be a TrainState, such as an earlier fit gave", train_state)


def _check_names(run_arguments: Mapping[str, Any]) -> None:
    """Raise for an argument that neither ``fit`` nor ``run`` has, with the name most like it."""
    known = [name for function in (fit, drive) for name in inspect.signature(function).parameters]
    for name in run_arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else ""
            raise bad_type("fit", "each argument must be one of fit's or run's", f"{name}=…", hint)
