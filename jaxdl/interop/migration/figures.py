"""What the losses, metrics and penalties are called elsewhere; Flax and Equinox are used with Optax (``optax.…``)."""

LOSSES = """
cross_entropy | losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy | nn.CrossEntropyLoss | \
optax.losses.softmax_cross_entropy_with_integer_labels, optax.losses.softmax_cross_entropy | –
    from logits, integer or one-hot labels, classes last (PyTorch: second; Keras' default is from probabilities); with
    class weights the mean divides by the examples, as in Keras (PyTorch: by the sum of weights)
binary_cross_entropy | losses.BinaryCrossentropy | nn.BCEWithLogitsLoss | optax.losses.sigmoid_binary_cross_entropy | –
    from logits (Keras' default is from probabilities)
focal | losses.CategoricalFocalCrossentropy | – | – | –
    from logits; class_weights are the paper's α (Keras' default has α = 0.25)
binary_focal | losses.BinaryFocalCrossentropy | – | optax.losses.sigmoid_focal_loss | –
    from logits; alpha=None weighs both labels alike, as in Optax
hinge | losses.Hinge | – | optax.losses.hinge_loss | –
    labels 0 and 1 (Optax: −1 and 1; Keras takes both)
mean_squared_error | losses.MeanSquaredError | nn.MSELoss | optax.losses.squared_error | –
    element by element, never broadcast; optax.losses.l2_loss is half of it
mean_absolute_error | losses.MeanAbsoluteError | nn.L1Loss | – | –
    element by element, never broadcast
huber | losses.Huber | nn.HuberLoss | optax.losses.huber_loss | –
    PyTorch's SmoothL1Loss(beta) is it divided by beta
log_cosh | losses.LogCosh | – | optax.losses.log_cosh | –
    element by element
quantile | – | – | – | –
    the pinball loss
poisson | losses.Poisson | nn.PoissonNLLLoss | – | –
    of the rate's logarithm, as in PyTorch (Keras: of the rate)
kl_divergence | losses.KLDivergence | nn.KLDivLoss | optax.losses.kl_divergence | –
    of log-probabilities, as in PyTorch and Optax (Keras: of probabilities), summed over classes
cosine_distance | losses.CosineSimilarity | nn.CosineEmbeddingLoss | optax.losses.cosine_distance | –
    Keras' is it minus 1; PyTorch's has a target of 1 beside it
triplet | – | nn.TripletMarginLoss | optax.losses.triplet_margin_loss | –
    Euclidean distances, not squared
info_nce | – | – | – | –
    one direction, the negatives are the rest of the batch; optax.losses.ntxent takes labels instead
dice | losses.Dice | – | optax.losses.dice_loss | –
    softmax of logits, a value for each example
binary_dice | losses.Dice | – | optax.losses.binary_dice_loss | –
    sigmoid of logits, a value for each example
ctc | losses.CTC | nn.CTCLoss | optax.losses.ctc_loss | –
    of logits, both sides Ragged; a sum for each sequence (PyTorch's mean divides by the labels' number)
gaussian_kl | – | distributions.kl_divergence | – | –
    to the standard normal, summed over the last axis
wasserstein | – | – | – | –
    scores, and 1 for real, 0 for generated
gradient_penalty | – | – | – | –
    of WGAN-GP, without its factor of 10
check_targets | – | – | – | –
    looks at a data set's targets on the host; fit does so
takes_ragged | – | – | – | –
    marks a loss of one's own that treats whole sequences
"""

METRICS = """
accuracy | metrics.SparseCategoricalAccuracy, metrics.CategoricalAccuracy | – | – | –
    of logits, integer or one-hot labels
binary_accuracy | metrics.BinaryAccuracy | – | – | –
    of logits, so that the threshold is 0 (Keras: probabilities and 0.5)
top_k_accuracy | metrics.SparseTopKCategoricalAccuracy, metrics.TopKCategoricalAccuracy | – | – | –
    top_k_accuracy(k) makes the metric (Keras' default is k = 5)
precision | metrics.Precision | – | – | –
    exact over batches; average is binary, macro, micro or None
recall | metrics.Recall | – | – | –
    as precision
f1 | metrics.F1Score | – | – | –
    macro is the mean of the classes' F1, as in Keras and scikit-learn
confusion_matrix | ops.bincount | – | – | –
    rows are true classes, columns predicted ones, as in scikit-learn
roc_auc | metrics.AUC | – | – | –
    2048 bins of the logit on the device (Keras: 200 thresholds of the probability)
mean_absolute_error | metrics.MeanAbsoluteError | – | – | –
    over all elements
root_mean_squared_error | metrics.RootMeanSquaredError | – | – | –
    of the whole data, not the mean of batches' roots
r_squared | metrics.R2Score | – | – | –
    the mean over outputs, as in Keras and scikit-learn
perplexity | – | – | – | –
    exp of the mean cross entropy over all positions
frechet_distance | – | – | – | –
    of the features of two whole sets, on the host; torchmetrics' FrechetInceptionDistance brings its classifier along
iou | metrics.MeanIoU | – | – | –
    classes that do not occur are left out of the mean, as in Keras
reducing | metrics.Metric | – | – | –
    marks a metric of one's own that adds up for itself
takes_ragged | – | – | – | –
    marks a metric of one's own that treats whole sequences
"""

PENALTIES = """
l1 | regularizers.L1 | – | – | –
    strength times the sum of the absolute values, on leaves chosen by path
l2 | regularizers.L2 | – | optax.add_decayed_weights | –
    strength times the sum of squares; the weight_decay of PyTorch's SGD is twice it; AdamW's is decoupled, and another
    thing
elastic_net | regularizers.L1L2 | – | – | –
    the sum of the two
group_lasso | – | – | – | –
    whole units or channels towards zero
activity_l1 | regularizers.L1 | – | – | –
    in layers.activity_penalty; the mean over examples and positions (Keras: over examples)
activity_kl | – | – | – | –
    in layers.activity_penalty; each unit's mean towards a rate
proximal_l1 | – | – | – | –
    after the optimizer in optax.chain; exact zeros
Penalty | regularizers.Regularizer | – | – | –
    a sum of terms, joined by +
Activity | regularizers.Regularizer | – | – | –
    a measure of activations and its strength
"""
