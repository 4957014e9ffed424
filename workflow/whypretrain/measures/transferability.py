"""How far a source is from a target, and how well a source's features suit it, without training on the target.

The proxy A-distance is a distance of two sets of images; LogME and LEEP are scores of a pre-trained
network on a labelled target, higher for better. Features are (n, d), labels (n,).
"""

import math

import numpy as np

STRENGTH = 0.1  # C = 1 / L2 of the classifier that tells two domains apart
ITERATIONS = 1000  # of its fit
STEPS = 200  # of the fixed point; where it is slow the evidence has long been flat
TOLERANCE = 1e-6  # relative change of alpha / beta at the fixed point
MOST_PRECISE_NOISE = 1e6  # largest beta: noise of 0.001 on labels that are 0 or 1
MOST_PRECISE_WEIGHTS = 1e12  # largest alpha: weights of 0


def draw_apart(a: np.ndarray, b: np.ndarray, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of equally many images of two sets, `most` at the most, none of them on both sides.

    `a` (n,) and `b` (m,) name images, each once. Where they share some, all images are first dealt out to two random
    halves, and `a` is drawn from one and `b` from the other: a classifier that has learnt an image as one domain's
    would be wrong about it for certain in the other.
    """
    places_a, places_b = np.arange(len(a)), np.arange(len(b))
    every = np.union1d(a, b)
    if len(every) < len(a) + len(b):
        half = rng.permutation(every)[: len(every) // 2]
        places_a, places_b = np.flatnonzero(np.isin(a, half)), np.flatnonzero(~np.isin(b, half))
    count = min(len(places_a), len(places_b), most)
    return rng.permutation(places_a)[:count], rng.permutation(places_b)[:count]


def proxy_a_distance(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float:
    """Return the proxy A-distance of two domains from features (n, d) and (m, d): 2 (1 - 2 err).

    The empirical estimate of the A-distance that Ben-David et al. (2007, section 5; 2010, section 3) give for linear
    classifiers: err is the share of mistakes of a logistic regression that tells the domains apart. The same number of
    each is drawn, one half is fitted on, standardised and with C = 0.1, and the other counted.

    2 is perfectly told apart, 0 is not told apart. It isn't clipped: a mean of clipped ones would be too large. NaN
    where a domain has fewer than two images, or a feature isn't finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    count = min(len(a), len(b))
    if count < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    drawn = [domain[rng.permutation(len(domain))[:count]] for domain in (a, b)]
    halves = slice(count // 2), slice(count // 2, None)
    fitted, counted = (np.concatenate([domain[half] for domain in drawn]) for half in halves)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=ITERATIONS))
    model.fit(fitted, np.repeat([0, 1], len(fitted) // 2))
    mistakes = model.predict(counted) != np.repeat([0, 1], len(counted) // 2)
    return float(2 * (1 - 2 * mistakes.mean()))


def log_me(features: np.ndarray, labels: np.ndarray) -> float:
    """Return LogME: the log of the maximum evidence of the labels given features (n, d), per image, in nats.

    You et al. 2021 (arXiv 2102.11005), eq. 1 and 2 and algorithm 1: for each class, labels y of 0 and 1 are modelled as
    y ~ N(Fw, 1/beta) with w ~ N(0, 1/alpha), without an intercept and on features as they are; the logs of the maximum
    evidence are averaged over the classes that occur. The two precisions are found by MacKay's fixed point from
    alpha = beta = 1, in the form of You et al. 2022 (arXiv 2110.10545). The authors' code leaves out
    (d - rank) log(alpha) / 2 where there are fewer images than dimensions (thuml/LogME, issue 23).

    Where features explain the labels wholly with dimensions to spare, the evidence grows as the noise vanishes. So
    noise is held at a standard deviation of 0.001 or more (beta at most 1e6): the score is finite with one image a
    class, with constant features and with one class. NaN where a feature isn't finite.
    """
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        return math.nan
    directions, singular, _ = np.linalg.svd(features, full_matrices=False)
    rank = int((singular > singular[0] * max(features.shape) * np.finfo(np.float64).eps).sum())
    directions = directions[:, :rank]
    y = (np.asarray(labels)[:, None] == np.unique(labels)).astype(np.float64)
    along = directions.T @ y
    beyond = np.square(y - directions @ along).sum(axis=0) if rank < len(y) else np.zeros(y.shape[1])
    return float(_maximum_evidence(singular[:rank] ** 2, np.square(along.T), beyond, len(y)).mean())


def _maximum_evidence(variances: np.ndarray, along: np.ndarray, beyond: np.ndarray, images: int) -> np.ndarray:
    """Return the log of the maximum evidence of each class, per image (classes,).

    `variances` (rank,) are the squared singular values of the features, `along` (classes, rank) the squares of the
    labels' coordinates in their directions, `beyond` (classes,) the sum of squares of what of the labels lies in none.
    """
    rank = len(variances)
    alpha, beta = np.ones(len(beyond)), np.ones(len(beyond))
    for _ in range(STEPS):
        ratio = alpha / beta
        weights, residual = _sums_of_squares(variances, along, beyond, ratio)
        shared = variances + ratio[:, None]
        used = (variances / shared).sum(axis=1)  # effective number of weights, gamma
        left = images - rank + (ratio[:, None] / shared).sum(axis=1)  # n - gamma, without cancellation
        alpha = used / np.maximum(weights, used / MOST_PRECISE_WEIGHTS) if rank else alpha
        beta = left / np.maximum(residual, left / MOST_PRECISE_NOISE)
        if (np.abs(alpha / beta - ratio) <= TOLERANCE * ratio).all():
            break
    weights, residual = _sums_of_squares(variances, along, beyond, alpha / beta)
    determinant = rank * np.log(alpha) - np.log(alpha[:, None] + beta[:, None] * variances).sum(axis=1)
    constant = images * (np.log(beta) - np.log(2 * np.pi))
    return (constant + determinant - beta * residual - alpha * weights) / (2 * images)


def _sums_of_squares(
    variances: np.ndarray, along: np.ndarray, beyond: np.ndarray, ratio: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each class's sum of squares of the weights' posterior mean, and of the residual, at alpha / beta."""
    shrunk = along / (variances + ratio[:, None]) ** 2
    return (variances * shrunk).sum(axis=1), ratio**2 * shrunk.sum(axis=1) + beyond


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return LEEP: the mean log-likelihood of target labels by the source head's own classes, in nats; 0 at the most.

    Nguyen et al. 2020 (arXiv 2002.12462), section 3: `probabilities` (n, source classes) are the source head's on
    target images, rows that sum to 1. From the empirical joint distribution P(y, z) = mean of [y_i = y] theta(x_i)_z
    follows P(y | z) = P(y, z) / P(z), and LEEP is the mean over images of log sum_z P(y_i | z) theta(x_i)_z. Finite
    with at least one image; NaN where a probability isn't.
    """
    theta = np.asarray(probabilities, dtype=np.float64)
    if not np.isfinite(theta).all():
        return math.nan
    belongs = np.asarray(labels)[:, None] == np.unique(labels)
    joint = belongs.T.astype(np.float64) @ theta / len(theta)
    marginal = joint.sum(axis=0)
    conditional = np.divide(joint, marginal, out=np.zeros_like(joint), where=marginal > 0)
    return float(np.log((theta @ conditional.T)[belongs]).mean())
