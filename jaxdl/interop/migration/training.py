"""What Keras and PyTorch Lightning do around the training, and its counterparts."""

TRAINING = """
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
