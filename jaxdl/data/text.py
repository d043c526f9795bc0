"""From texts to integers: tokenizers trained on the texts at hand, and sequences padded on the right."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxdl.core import Ragged, bad_type, bad_value
from jaxdl.core.checks import check_lengths, positive_int
from jaxdl.core.extras import need

PAD, UNKNOWN = "[PAD]", "[UNK]"
Level = Literal["word", "character", "bpe"]


def train_tokenizer(texts: Iterable[str], vocabulary: int, *, level: Level = "word", lowercase: bool = True) -> Any:
    """A tokenizer of the most frequent words (or characters, or byte pairs) of some texts.

    It is a ``tokenizers.Tokenizer``: ``save`` and ``from_file`` keep it, ``decode`` goes back. Number 0 is padding and
    number 1 what is not in the vocabulary. Fit it on the training texts alone, or the test leaks.

    **Args** ``vocabulary``: how many tokens it knows at most, the two special ones among them. ``level``: ``"word"``
    splits at spaces and punctuation; ``"character"`` suits Chinese; ``"bpe"`` merges frequent pairs of bytes, so that
    nothing is unknown (it needs a vocabulary of at least 258: the 256 bytes and the special two). ``lowercase``:
    whether upper and lower case are one.

    **Raises** ``ValueError`` for a vocabulary that does not hold the special tokens and, for ``"bpe"``, the bytes, or
    another level.

    Example:
        >>> tokenizer = train_tokenizer(["the cat sat", "the dog sat"], vocabulary=4)
        >>> tokenizer.encode("the cat sat").tokens
        ['the', '[UNK]', 'sat']

    **References** Sennrich, Haddow and Birch, Neural machine translation of rare words with subword units, 2015.
    """
    positive_int("train_tokenizer", "vocabulary", vocabulary)
    if vocabulary < (least := {"bpe": 258}.get(level, 2)):
        needs = (
            f"vocabulary must be at least {least}, the special tokens{' and the 256 bytes' if level == 'bpe' else ''}"
        )
        raise bad_value("train_tokenizer", needs, vocabulary)
    if isinstance(texts, str):
        raise bad_type("train_tokenizer", "texts must be several texts", "one str", "Did you mean [text]?")
    library = need("tokenizers", "data.train_tokenizer", extra="text")
    models, splitters, trainers = library.models, library.pre_tokenizers, library.trainers
    special = {"vocab_size": vocabulary, "special_tokens": [PAD, UNKNOWN], "show_progress": False}
    if level == "bpe":
        tokenizer = library.Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = splitters.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=splitters.ByteLevel.alphabet(), **special)
    elif level in ("word", "character"):
        tokenizer = library.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        trainer = trainers.WordLevelTrainer(**special)
        tokenizer.pre_tokenizer = splitters.Whitespace()
        if level == "character":
            tokenizer.pre_tokenizer = splitters.Split(library.Regex(r"[\s\S]"), "isolated")
            tokenizer.decoder = library.decoders.Fuse()
    else:
        raise bad_value("train_tokenizer", 'level must be "word", "character" or "bpe"', repr(level))
    if lowercase:
        tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    length: int | None = None,
    keep: Literal["start", "end"] = "start",
    allow_empty: bool = False,
) -> Ragged:
    """The texts as integers, one text a row, padded on the right: what ``embedding`` takes.

    **Args** ``length``: the time axis' size, to which longer texts are cut; by default that of the longest. ``keep``:
    which end of a longer text stays. ``allow_empty``: let a text without a token be a sequence of length 0, whose last
    recurrent output and whose pools are zeros, so that a classifier answers with its biases alone.

    **Raises** ``ValueError`` for a text without a token, by its place, unless ``allow_empty``.

    Example:
        >>> tokenizer = train_tokenizer(["a b", "b c"], vocabulary=10)
        >>> words = encode(tokenizer, ["b b a", "c"])
        >>> words.x.shape, words.lengths.tolist()
        ((2, 3), [3, 1])
    """
    if isinstance(texts, str):
        raise bad_type("encode", "texts must be several texts", "one str", "Did you mean [text]?")
    ids = [one.ids for one in tokenizer.encode_batch(list(texts))]
    empty = [] if allow_empty else [row for row, one in enumerate(ids) if not one]
    if empty:
        got = f"none in {len(empty)} of {len(ids)}, first in texts[{empty[0]}], {texts[empty[0]][:40]!r}"
        raise bad_value(
            "encode", "each text must have a token", got, "Did you mean to leave it out, or allow_empty=True?"
        )
    return pad_sequences(ids, length=length, keep=keep)


def pad_sequences(
    sequences: Sequence[Any], *, length: int | None = None, value: float = 0, keep: Literal["start", "end"] = "start"
) -> Ragged:
    """Sequences of different length as one array, padded on the right, with their lengths.

    Padding is on the right, so that a length says which positions are real, and layers skip the others: a recurrent
    layer ends at the last real position, as if there were no padding. Keras' function of this name pads and cuts on the
    left by default, so that a recurrent layer without a mask ends on a word: its ``padding="pre"`` is what
    :func:`pad_left` makes of the result, for other libraries; its ``truncating="pre"`` is ``keep="end"``, and
    ``"post"`` is ``keep="start"``.

    **Shapes** each sequence ``(time_i, …) -> Ragged(x: (n, length, …), lengths: (n,))``.

    **Args** ``length``: cut to it, and pad to it; by default the longest sequence's. ``value``: what padding holds (no
    layer reads it). ``keep``: which end of a longer sequence stays.

    **Raises** ``ValueError`` for numbers, or a ``value``, that int32 (or float32, where a sequence is not of integers)
    cannot hold.

    Example:
        >>> padded = pad_sequences([[1, 2, 3], [4]], length=2)
        >>> padded.x.tolist(), padded.lengths.tolist()
        ([[1, 2], [4, 0]], [2, 1])
    """
    if keep not in ("start", "end"):
        raise bad_value("pad_sequences", 'keep must be "start" or "end"', repr(keep))
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise bad_value("pad_sequences", "sequences must be one or more sequences", sequences)
    filled = [array for array in arrays if array.size] or arrays
    if len({array.shape[1:] for array in filled}) > 1:
        shapes = sorted({array.shape[1:] for array in filled})
        raise bad_value("pad_sequences", "all positions must have the same shape", f"the shapes {shapes}")
    size = max(map(len, arrays)) if length is None else positive_int("pad_sequences", "length", length)
    whole = all(np.issubdtype(array.dtype, np.integer) for array in filled)
    dtype = np.dtype(np.int32 if whole else np.float32)
    for name, array in [("value", np.asarray(value)), *(("sequences", array) for array in filled)]:
        _check_holds(name, array, dtype)
    x = np.full((len(arrays), size, *filled[0].shape[1:]), value, dtype)
    lengths = np.zeros(len(arrays), np.int32)
    for row, array in enumerate(arrays):
        kept = array[:size] if keep == "start" else array[max(len(array) - size, 0) :]
        lengths[row] = len(kept)
        x[row, : len(kept)] = kept
    return Ragged(x, lengths)


def pad_left(sequences: Ragged, *, value: float = 0) -> np.ndarray:
    """The same sequences with their padding on the left, as one array without lengths: Keras' ``padding="pre"``.

    For libraries that know no lengths. To the layers here the padding of such an array is as real as the rest.

    **Shapes** ``Ragged(x: (n, length, …), lengths: (n,)) -> (n, length, …)``.

    **Args** ``value``: what padding holds.

    **Raises** ``TypeError`` for anything but a :class:`jaxdl.Ragged`; ``ValueError`` for a ``value`` that the dtype
    cannot hold, or lengths beyond the time axis.

    Example:
        >>> pad_left(pad_sequences([[1, 2, 3], [4]])).tolist()
        [[1, 2, 3], [0, 0, 4]]
    """
    if not isinstance(sequences, Ragged):
        raise bad_type("pad_left", "sequences must be Ragged", sequences, "Did you mean pad_left(pad_sequences(…))?")
    x = np.asarray(sequences.x)
    _check_holds("value", np.asarray(value), x.dtype, call="pad_left")
    padded = np.full_like(x, value)
    for row, length in enumerate(np.asarray(check_lengths("pad_left", sequences.lengths, x))):
        padded[row, x.shape[1] - length :] = x[row, :length]
    return padded


def _check_holds(name: str, array: np.ndarray, dtype: np.dtype[Any], *, call: str = "pad_sequences") -> None:
    """Raise where numbers would wrap, be cut off or overflow in that dtype."""
    if dtype.kind in "iub":
        least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        bad = (array != np.trunc(array)) | (array < least) | (array > most)
    else:
        bad = np.isfinite(array) & (np.abs(array) > float(jnp.finfo(dtype).max))
    if np.any(bad):
        raise bad_value(call, f"{name} must be of numbers that {dtype} can hold", f"{array[bad][0]}")
