"""What the layers and combinators are called elsewhere: our name | Keras | PyTorch | Flax | Equinox, and what differs.

Names of Keras are under ``keras``, of PyTorch under ``torch``, of Flax under ``flax.linen`` (or whole: ``jax.…``), of
Equinox under ``equinox``.
"""

LAYERS = """
dense | layers.Dense | nn.Linear | Dense | nn.Linear
    kernel (in, out); the weight of PyTorch and Equinox is (out, in)
bilinear | – | nn.Bilinear | – | –
    kernel (in1, in2, out); PyTorch's is (out, in1, in2)
embedding | layers.Embedding | nn.Embedding | Embed | nn.Embedding
    ids out of range are an error outside of jit, and give nan inside; padding_index gives zeros (PyTorch: its row);
    Keras' mask_zero is a Ragged batch here
attend | layers.ReversibleEmbedding | – | Embed.attend | nn.Shared
    with combine.tie, the output that shares the embedding's table; in PyTorch a Linear that is given the same weight
one_hot | layers.CategoryEncoding | nn.functional.one_hot | jax.nn.one_hot | jax.nn.one_hot
    PyTorch's is of integers
conv | layers.Conv1D, layers.Conv2D, layers.Conv3D | nn.Conv1d, nn.Conv2d, nn.Conv3d | Conv | nn.Conv
    one for every rank, 4-D as well; channels last, kernel (*window, in / groups, out); the default padding is VALID, as
    in Keras and PyTorch (Flax: SAME); SAME puts the odd element at the high end
depthwise_conv | layers.DepthwiseConv1D, layers.DepthwiseConv2D | nn.Conv2d | Conv | nn.Conv
    kernel (*window, 1, in · multiplier); Keras' is (*window, in, multiplier); elsewhere a convolution with groups = in
separable_conv | layers.SeparableConv1D, layers.SeparableConv2D | – | – | –
    elsewhere a depthwise convolution and one of window 1, with or without a bias between (here and in Keras without)
conv_transpose | layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose | nn.ConvTranspose1d, \
nn.ConvTranspose2d, nn.ConvTranspose3d | ConvTranspose | nn.ConvTranspose
    kernel (*window, in / groups, out), not flipped; Keras' has out before in, Flax's is mirrored along the window;
    VALID is PyTorch's padding=0 (Keras and Flax add max(stride − window, 0) at the end)
max_pool | layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D | nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d \
| max_pool | nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d
    strides are the window by default, as in Keras and PyTorch (Flax and Equinox: 1)
    elsewhere a convolution and a max pool, an activation between them; here the activation stands after it, and the
    parameters are the convolution's
avg_pool | layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D | nn.AvgPool1d, nn.AvgPool2d, \
nn.AvgPool3d | avg_pool | nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d
    padded zeros count by default, as in PyTorch and Flax (Keras leaves them out: count_include_pad=False)
global_avg_pool | layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D | nn.AdaptiveAvgPool2d | – | \
nn.AdaptiveAvgPool2d
    the spatial axes are gone; PyTorch's keeps them with size 1
global_max_pool | layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D | nn.AdaptiveMaxPool2d | – | \
nn.AdaptiveMaxPool2d
    the spatial axes are gone; PyTorch's keeps them with size 1
adaptive_avg_pool | layers.AdaptiveAveragePooling2D | nn.AdaptiveAvgPool2d | – | nn.AdaptiveAvgPool2d
    the windows of PyTorch, of any rank
adaptive_max_pool | layers.AdaptiveMaxPooling2D | nn.AdaptiveMaxPool2d | – | nn.AdaptiveMaxPool2d
    the windows of PyTorch, of any rank
patches | ops.image.extract_patches | nn.Unfold | jax.lax.conv_general_dilated_patches | –
    (batch, *positions, taps · channels), in the order of a kernel (PyTorch and jax.lax: channels before taps)
fold | – | nn.Fold | – | –
    the inverse of patches as PyTorch's of Unfold: overlaps are added up
upsample | layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D | nn.Upsample | jax.image.resize | –
    cubic has a = −½, as in Keras (PyTorch: −¾)
pixel_shuffle | ops.nn.depth_to_space | nn.PixelShuffle | – | –
    of any rank, channels last
pixel_unshuffle | ops.nn.space_to_depth | nn.PixelUnshuffle | – | –
    of any rank, channels last
batch_norm | layers.BatchNormalization | nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d | BatchNorm | nn.BatchNorm
    momentum is the share kept, 0.9 (Keras and Flax: 0.99; PyTorch's 0.1 is 1 minus it); ε is 1e-5 (Keras: 1e-3); the
    running variance is the biased one (PyTorch: unbiased); over the mesh's whole batch, as SyncBatchNorm
layer_norm | layers.LayerNormalization | nn.LayerNorm | LayerNorm | nn.LayerNorm
    over the last axis; ε is 1e-5, as in PyTorch and Equinox (Flax: 1e-6, Keras: 1e-3)
rms_norm | layers.RMSNormalization | nn.RMSNorm | RMSNorm | nn.RMSNorm
    ε is 1e-5 (Flax and Keras: 1e-6, PyTorch: the dtype's own)
group_norm | layers.GroupNormalization | nn.GroupNorm | GroupNorm | nn.GroupNorm
    ε is 1e-5, as in PyTorch (Flax: 1e-6, Keras: 1e-3)
instance_norm | layers.GroupNormalization | nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d | InstanceNorm | –
    with scale and bias (PyTorch by default without: affine=True); Keras' is of groups=-1
dropout | layers.Dropout | nn.Dropout | Dropout | nn.Dropout
    rate is the share that is dropped, as everywhere
channel_dropout | layers.SpatialDropout1D, layers.SpatialDropout2D | nn.Dropout1d, nn.Dropout2d, nn.Dropout3d | \
Dropout | –
    in Flax a Dropout with broadcast_dims
drop_path | – | – | Dropout | –
    stochastic depth, of torchvision and timm; what is kept is scaled by 1 / (1 − rate)
alpha_dropout | layers.AlphaDropout | nn.AlphaDropout | – | –
    for networks of SELU
gaussian_noise | layers.GaussianNoise | – | – | –
    stddev in the units of the input
gaussian_dropout | layers.GaussianDropout | – | – | –
    multiplies with noise of mean 1 and variance rate / (1 − rate)
gaussian_sample | – | – | – | –
    takes (mean, log_variance); without training it gives the mean
activity_penalty | layers.ActivityRegularization | – | – | –
    adds penalties.activity_l1 or activity_kl of its input to the loss; the mean is over positions too
prelu | layers.PReLU | nn.PReLU | PReLU | nn.PReLU
    a slope for each channel, as PyTorch's PReLU(channels); Keras by default one for each element, Flax one for all
maxout | – | – | – | –
    a dense product and the largest of its pieces
glu | ops.nn.glu | nn.GLU | glu | –
    with its dense product: value before gate, as in PyTorch
softmax | layers.Softmax | nn.Softmax | softmax | jax.nn.softmax
    with a temperature; other activations are plain functions of jax.nn, which stand in a sequential as they are
simple_rnn | layers.SimpleRNN | nn.RNN | SimpleCell | –
    all outputs by default, as in PyTorch (Keras: the last); PyTorch's two biases are one
lstm | layers.LSTM | nn.LSTM | OptimizedLSTMCell, LSTMCell | nn.LSTMCell
    gates i, f, g, o in one kernel (in, 4H); PyTorch's two biases are one; stacked: a sequential, one for each layer
gru | layers.GRU | nn.GRU | GRUCell | nn.GRUCell
    gates r, z, n (Keras: z, r, n); the reset gate after the product, as in all of them; reset="before" is the paper's
conv_lstm | layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D | – | ConvLSTMCell | –
    gates i, f, g, o (Flax: i, g, f, o, and 1 added to f); padded to keep the size (Keras: VALID)
bidirectional | layers.Bidirectional | nn.LSTM | Bidirectional | –
    turned round within each sequence's own length; in PyTorch the argument bidirectional=True
multi_head_attention | layers.MultiHeadAttention, layers.GroupQueryAttention | nn.MultiheadAttention | \
MultiHeadDotProductAttention | nn.MultiheadAttention
    kernels (in, heads · size), the heads side by side; (x, memory) is cross attention; a query that sees no key gives
    zeros; caches are explicit: prefill and decode
feed_forward | – | – | – | nn.MLP
    of a transformer block; gated=True with silu is SwiGLU
transformer_block | – | nn.TransformerEncoderLayer | – | –
    causal, the norm first, and gelu by tanh unless told otherwise (PyTorch: neither, and relu)
transformer_decoder_block | – | nn.TransformerDecoderLayer | – | –
    takes and gives (x, memory); self attention is causal by itself, PyTorch's by its tgt_mask
learned_positions | – | nn.Embedding | Embed | nn.Embedding
    an embedding of the position, added to the input
sinusoidal_positions | – | – | – | –
    added to the input; sine and cosine take turns, as in the paper
class_token | – | – | – | –
    a learned vector before each sequence, ragged ones as well
first_step | – | – | – | –
    x[:, 0], zeros for an empty sequence
flatten | layers.Flatten | nn.Flatten | – | –
    channels last: the same numbers in another order than in PyTorch, for the dense layer behind it
reshape | layers.Reshape | nn.Unflatten | jax.numpy.reshape | –
    reshape(7, 7, 2): the batch axis stays
permute | layers.Permute | – | jax.numpy.transpose | –
    the axes 1, 2, … in their new order, as in Keras
pad | layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D | nn.ZeroPad1d, nn.ZeroPad2d, \
nn.ReflectionPad2d, nn.CircularPad2d | jax.numpy.pad | –
    a pair for each spatial axis, first axis first (PyTorch: last axis first)
crop | layers.Cropping1D, layers.Cropping2D, layers.Cropping3D | – | – | –
    a pair for each spatial axis
"""

COMBINATORS = """
sequential | Sequential | nn.Sequential | Sequential | nn.Sequential
    bare functions stand in it as they are; children are named after their kind, or by pairs ("name", layer)
residual | layers.Add | – | – | –
    the sum with the input, or with shortcut(input)
parallel | – | – | – | –
    one layer for each element of a tuple; their outputs as a tuple, added or joined
encoder_decoder | – | nn.Transformer | – | –
    takes (target, source), of any encoder and decoder; reads the target piece by piece (prefill, decode)
branch | layers.Concatenate, layers.Add | – | – | –
    the same input to each, then joined
repeat | – | nn.ModuleList | scan, remat_scan | –
    stacked parameters and one lax.scan; interop reads the members one by one
vmapped | – | vmap, func.stack_module_state | vmap | filter_vmap
    an ensemble as one program
remat | RematScope | utils.checkpoint.checkpoint | remat | filter_checkpoint
    jax.checkpoint around a layer
tie | – | – | – | nn.Shared
    one path owns the array; to load tied weights of PyTorch, leave the copy out of the state dict
weight_norm | – | nn.utils.parametrizations.weight_norm | WeightNorm | nn.WeightNorm
    a length for each output, as in all of them
spectral_norm | layers.SpectralNormalization | nn.utils.parametrizations.spectral_norm | SpectralNorm | nn.SpectralNorm
    one power iteration a training step; none without training
lora | layers.Dense.enable_lora | – | – | –
    beside every kernel that a glob chooses, of any kind of layer
merge_lora | – | – | – | –
    the updates added to the kernels
mixture_of_experts | – | – | – | –
    top-k routing, the balance loss through aux_loss
"""
