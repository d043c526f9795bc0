"""Distances of two whole sets of examples."""

from typing import Any

import numpy as np

from jaxdl.core import bad_value


def frechet_distance(features: Any, others: Any) -> float:
    """``‖μ − ν‖² + tr(C + D − 2 (C D)^½)``: how far two sets of features are apart, each taken as a normal distribution
    of its mean (μ, ν) and its covariance (C, D).

    It is 0 for sets that are alike, and says of generated examples, by the features of a classifier, how far they are
    from real ones: the Fréchet inception distance where the classifier is Inception's. Distances by different
    classifiers do not compare, and of few examples they come out too great. This is a figure of two whole sets, no
    mean over examples and no metric for :func:`jaxdl.fit`; it is computed on the host in float64.

    **Shapes** ``features: (n, size)``, ``others: (m, size) ->`` a number.

    **Raises** ``ValueError`` for arrays of other shapes, for fewer than two examples, and for features that are not
    finite.

    Example:
        >>> import numpy as np
        >>> x = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
        >>> round(frechet_distance(x, x + 2), 6), round(frechet_distance(x, 3 * x), 6)
        (8.0, 5.333333)

    **References** Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, GANs trained by a two time-scale update rule
    converge to a local Nash equilibrium, 2017; Dowson and Landau, The Fréchet distance between multivariate normal
    distributions, 1982.
    """
    a, b = (_matrix(name, x) for name, x in (("features", features), ("others", others)))
    if a.shape[1] != b.shape[1]:
        raise bad_value("frechet_distance", f"others must be (m, {a.shape[1]}) as the features are", others)
    gap = a.mean(0) - b.mean(0)
    one, other = (np.cov(x, rowvar=False).reshape(x.shape[1], -1) for x in (a, b))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # C D has the eigenvalues of the symmetric C^½ D C^½.
    overlap = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return float(gap @ gap + np.trace(one) + np.trace(other) - 2 * overlap)


def _matrix(name: str, x: Any) -> np.ndarray:
    matrix = np.asarray(x, np.float64)
    if matrix.ndim != 2 or len(matrix) < 2 or not matrix.shape[1]:
        raise bad_value("frechet_distance", f"{name} must be (examples, size) with two examples or more", x)
    if not (finite := np.isfinite(matrix)).all():
        row, column = np.argwhere(~finite)[0]
        raise bad_value("frechet_distance", f"{name} must be finite", f"{matrix[row, column]} in example {row}")
    return matrix
