"""One partition of a dataset's images into train, validation and test, and what is drawn from it.

A partition is made once per dataset and seed, before any class subset: a task only
restricts it, so no image changes its part from one task to another. Labels are class
indices (N,); images are named by their index.

A dataset may come divided: images that are given to validate or to test do so with every
seed, and only the parts that it lacks are drawn, from those given to train.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from whypretrain.randomness import stream

PARTS = ("train", "validation", "test")
HALVES = ("all", "a", "b")

Shares = Mapping[str, float]

Counts = Mapping[str, Mapping[str, int]]  # images by part and class


def _sizes(count: int, shares: Shares, given: Sequence[str] = ()) -> dict[str, int]:
    """Return the images drawn of a class for each part that isn't given; of 3 or more each has at least one."""
    validation, test = (
        0 if part in given else (count * round(100 * shares[part]) + 50) // 100 for part in ("validation", "test")
    )
    if count >= len(PARTS) and "validation" not in given:
        validation = min(max(validation, 1), count - 2)
    if count >= len(PARTS) and "test" not in given:
        test = min(max(test, 1), count - validation - 1)
    return {"train": count - validation - test, "validation": validation, "test": test}


def part_sizes(class_counts: dict[str, int], shares: Shares, given: Counts | None = None) -> dict[str, dict[str, int]]:
    """Return images per part and class (`["train"]["7"]`), known from the counts alone.

    `shares` are those of each class that validate and that test (`{"validation": 0.2, "test": 0.2}`), in whole
    percents, rounded to whole images; the rest trains. `given` has the images of the parts that the dataset comes
    divided into.
    """
    fixed = {part: given[part] for part in PARTS[1:] if given and part in given}
    sizes: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    for name, count in class_counts.items():
        drawn = _sizes(count - sum(images[name] for images in fixed.values()), shares, tuple(fixed))
        for part in PARTS:
            sizes[part][name] = fixed[part][name] if part in fixed else drawn[part]
    return sizes


def given_parts(class_counts: dict[str, int], given: Counts) -> np.ndarray:
    """Return each image's part, as its place in PARTS, of a dataset sorted by class and part."""
    sizes = [given.get(part, {}).get(name, 0) for name in class_counts for part in PARTS]
    return np.repeat(np.tile(np.arange(len(PARTS), dtype=np.uint8), len(class_counts)), sizes)


def partition(
    labels: np.ndarray,
    dataset: str,
    seed: int,
    shares: Shares,
    given: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the image indices, sorted, of `train`, `validation` and `test`.

    Stratified by class; a function of the labels, the dataset's name, the seed, the shares (as
    `part_sizes` takes them), the parts that `given_parts` tells of and the groups of images alone. Images of one group,
    a number above 0, are in one part: whoever is elsewhere changes places with another of its class.
    """
    rng = stream("partition", dataset, seed)
    given = np.zeros(len(labels), np.uint8) if given is None else given
    found = {part: [np.flatnonzero(given == place)] if place else [] for place, part in enumerate(PARTS)}
    fixed = [part for part, pieces in found.items() if pieces and len(pieces[0])]
    for label in np.unique(labels):
        order = rng.permutation(np.flatnonzero((labels == label) & (given == 0)))
        start = 0
        for part, n in _sizes(len(order), shares, fixed).items():
            found[part].append(order[start : start + n])
            start += n
    drawn = {part: np.sort(np.concatenate(pieces)) for part, pieces in found.items()}
    return drawn if groups is None or fixed else _grouped(drawn, labels, groups, rng)


def _grouped(
    found: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    place = np.zeros(len(labels), np.int64)
    for number, indices in enumerate(found.values()):
        place[indices] = number
    for group in np.unique(groups[groups > 0]):
        first, *others = np.flatnonzero(groups == group)
        for other in others:
            free = np.flatnonzero((place == place[first]) & (labels == labels[other]) & (groups == 0))
            if place[other] != place[first] and len(free):
                swapped = rng.choice(free)
                place[[other, swapped]] = place[[swapped, other]]
    return {part: np.flatnonzero(place == number) for number, part in enumerate(found)}


def half_size(n: int, which: str) -> int:
    """Return how many of a class's `n` training images are in `all`, half `a` or half `b`.

    Raises ValueError for any other half.
    """
    if which not in HALVES:
        raise ValueError(f"unknown half '{which}'; allowed: {', '.join(HALVES)}")
    return {"all": n, "a": (n + 1) // 2, "b": n // 2}[which]


def half(train_indices: np.ndarray, labels: np.ndarray, which: str) -> np.ndarray:
    """Return half `a` or `b` of the training images, or `all` of them; sorted.

    The halves are disjoint, stratified, random, and together all. Each class is divided
    by a stream of its own, keyed by its training images, so the halves depend on the
    partition alone, and a class subset moves no image from one to the other. Give whole
    classes of the train part, not a draw from it.
    """
    pieces = [np.empty(0, dtype=np.int64)]
    for label in np.unique(labels[train_indices]):
        members = np.sort(train_indices[labels[train_indices] == label])
        order = stream("partition", "half", *members.tolist()).permutation(members)
        start = half_size(len(order), "a") if which == "b" else 0
        pieces.append(order[start : start + half_size(len(order), which)])
    return np.sort(np.concatenate(pieces))


def draw_shots(
    train_indices: np.ndarray, labels: np.ndarray, shots: int | None, rng: np.random.Generator
) -> np.ndarray:
    """Return `shots` of the given images per class, all of them for None; class after class, as drawn.

    Nested: from the same state of `rng`, the first k of a class are the draw of k shots.
    Raises ValueError where a class has too few.
    """
    pieces = [np.empty(0, dtype=np.int64)]
    for label in np.unique(labels[train_indices]):
        order = rng.permutation(np.sort(train_indices[labels[train_indices] == label]))
        if shots is not None and shots > len(order):
            raise ValueError(f"class {label} has {len(order)} images to draw from, but {shots} shots are asked")
        pieces.append(order[:shots])
    return np.concatenate(pieces)


def restrict(indices: np.ndarray, labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return those of the images that belong to the classes, in the order given."""
    return indices[np.isin(labels[indices], list(classes))]


def class_half(classes: Sequence[int], dataset: str, seed: int, which: str) -> list[int]:
    """Return a random half of the classes, sorted: `a` or `b`, which together are all and share none.

    Half `a` has the odd one. Raises ValueError for any other half.
    """
    if which not in ("a", "b"):
        raise ValueError(f"unknown half of classes '{which}'; allowed: a, b")
    order = stream("class-half", dataset, seed, *sorted(classes)).permutation(sorted(classes))
    first = (len(order) + 1) // 2
    return sorted(order[:first].tolist() if which == "a" else order[first:].tolist())
