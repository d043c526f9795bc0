"""What training calls take, what goes on around them, and what Keras, PyTorch and Lightning call it."""

TRAINING = """
fit(policy="bfloat16") | mixed_precision.set_global_policy | autocast | – | –
    an argument, nothing global; parameters are cast as well as inputs, so that embeddings are bfloat16 too; norms,
    softmax, losses and all state stay float32
fit(policy="float16") | mixed_precision.LossScaleOptimizer | amp.GradScaler | – | –
    PyTorch's rule: from 2¹⁶, doubled after 2000 good steps (flax.training.dynamic_scale: 2001), halved when
    a gradient overflows; the step is then skipped whole, batch norm's statistics too
train.loss_scaled | mixed_precision.LossScaleOptimizer | amp.GradScaler | – | –
    the scale is part of opt_state; clipping within the optimizer sees the gradient without it
fit(accumulate=4) | optimizers.Optimizer | – | optax.MultiSteps | –
    parts of one batch within a step, added by weight and divided once; Keras (gradient_accumulation_steps), optax and
    loops of PyTorch average over so many steps, which is another mean where weights or lengths differ
ema | optimizers.Optimizer | optim.swa_utils.AveragedModel | – | –
    around the optimizer; corrected for its start, where Keras (use_ema) and PyTorch begin with the first weights seen;
    ema_params takes the average
by_epoch | callbacks.LearningRateScheduler | optim.lr_scheduler.LambdaLR | – | –
    makes a schedule of optax count epochs, with fractions of one
fit(class_weight=…) | Model.fit | nn.CrossEntropyLoss | – | –
    divides by the sum of the weights, as PyTorch does; Keras divides by the number of examples; "balanced" is
    scikit-learn's
freeze | Layer | nn.Module | optax.transforms.freeze | –
    by the glob of a path, in the optimizer; elsewhere trainable=False or requires_grad=False
by_path | – | optim.Optimizer | optax.partition | –
    PyTorch's parameter groups
Event | callbacks.Callback | lightning.Callback | – | –
    one function on_event(event) instead of methods; event.kind is the moment; what it returns is None or dl.Stop(…)
Stop | – | – | – | –
    returned by a callback; Keras sets model.stop_training, Lightning trainer.should_stop
early_stopping | callbacks.EarlyStopping | lightning.callbacks.EarlyStopping | – | –
    the best state is back by default, optimizer and all (Keras: the weights, if told to; Lightning: in a checkpoint);
    mode is "min" unless said; patience as in both; min_change is min_delta
Checkpoint | callbacks.ModelCheckpoint, callbacks.BackupAndRestore | lightning.callbacks.ModelCheckpoint | – | –
    fit(…, checkpoint=…, resume=True); best= and mode= for monitor and mode; keep= for save_top_k of the latest
history_file | callbacks.CSVLogger | lightning.loggers.CSVLogger | – | –
    .csv or .jsonl; a line an epoch; a resumed run goes on in it
write_history | – | – | – | –
    a whole history at once
tensorboard | callbacks.TensorBoard | lightning.loggers.TensorBoardLogger | – | –
    the figures of each epoch, by tensorboardX; training and validation lie in one chart, as in Keras
find_learning_rate | – | lightning.tuner.Tuner.lr_find | – | –
    nothing is set: it gives the rates, the losses and a suggestion
configure | config.enable_op_determinism | use_deterministic_algorithms, set_num_threads | – | –
    once, before the first computation; the seed is an argument of fit
"""
