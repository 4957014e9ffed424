"""The partition, its halves and its draws: no image is ever in two places."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whypretrain.data.partition import draw_shots, half, half_size, part_sizes, partition, restrict

COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any)
SEEDS = st.integers(0, 1000)
PERCENT = st.integers(1, 98)
FIFTHS = {"validation": 0.2, "test": 0.2}


def labels_of(counts: list[int], shuffled: int = 0) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(shuffled).permutation(labels)


@given(COUNTS, SEEDS)
def test_parts_are_disjoint_sorted_and_together_everything(counts: list[int], seed: int):
    labels = labels_of(counts)
    parts = partition(labels, "digits", seed, FIFTHS)
    assert list(parts) == ["train", "validation", "test"]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
    for indices in parts.values():
        assert (np.diff(indices) > 0).all()


@given(COUNTS, SEEDS)
def test_sizes_are_known_from_counts_alone(counts: list[int], seed: int):
    labels = labels_of(counts)
    found = partition(labels, "digits", seed, FIFTHS)
    for part, expected in part_sizes({str(c): n for c, n in enumerate(counts)}, FIFTHS).items():
        assert list(expected.values()) == np.bincount(labels[found[part]], minlength=len(counts)).tolist()


@given(st.integers(5, 5000))
def test_every_part_of_a_class_has_images_and_about_its_share(n: int):
    sizes = {part: by_class["x"] for part, by_class in part_sizes({"x": n}, FIFTHS).items()}
    assert min(sizes.values()) >= 1
    assert sum(sizes.values()) == n
    for part, share in {"train": 0.6, "validation": 0.2, "test": 0.2}.items():
        assert abs(sizes[part] - share * n) <= 1


def test_known_sizes():
    assert part_sizes({"0": 500, "1": 178}, FIFTHS) == {
        "train": {"0": 300, "1": 106},
        "validation": {"0": 100, "1": 36},
        "test": {"0": 100, "1": 36},
    }


def test_the_same_partition_on_every_machine():
    parts = partition(np.repeat([0, 1], 10), "digits", 0, FIFTHS)
    assert {part: indices.tolist() for part, indices in parts.items()} == {
        "train": [1, 3, 4, 5, 6, 8, 12, 14, 16, 17, 18, 19],
        "validation": [0, 7, 13, 15],
        "test": [2, 9, 10, 11],
    }


@given(st.integers(3, 5000), PERCENT, PERCENT)
def test_every_share_leaves_one_image_in_each_part(n: int, validate: int, test: int):
    assume(validate + test < 100)
    shares = {"validation": validate / 100, "test": test / 100}
    sizes = {part: by_class["x"] for part, by_class in part_sizes({"x": n}, shares).items()}
    assert min(sizes.values()) >= 1
    assert sum(sizes.values()) == n
    for part, percent in (("validation", validate), ("test", test)):
        assert abs(sizes[part] - n * percent / 100) < 2


def test_known_sizes_where_nearly_all_test():
    found = part_sizes({"0": 500, "few": 10}, {"validation": 0.04, "test": 0.88})
    assert found == {
        "train": {"0": 40, "few": 1},
        "validation": {"0": 20, "few": 1},
        "test": {"0": 440, "few": 8},
    }


def test_known_sizes_of_a_larger_share():
    found = part_sizes({"three": 3, "five": 5, "ten": 10, "many": 100}, {"validation": 0.2, "test": 0.3})
    assert found == {
        "train": {"three": 1, "five": 2, "ten": 5, "many": 50},
        "validation": {"three": 1, "five": 1, "ten": 2, "many": 20},
        "test": {"three": 1, "five": 2, "ten": 3, "many": 30},
    }


@given(COUNTS, SEEDS, st.sampled_from([(0.2, 0.05), (0.2, 0.5), (0.04, 0.88), (0.6, 0.01)]))
def test_other_shares_are_a_partition_of_their_sizes(counts: list[int], seed: int, percents: tuple[float, float]):
    labels, shares = labels_of(counts), dict(zip(("validation", "test"), percents, strict=True))
    parts = partition(labels, "digits", seed, shares)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(labels)))
    for part, expected in part_sizes({str(c): n for c, n in enumerate(counts)}, shares).items():
        assert list(expected.values()) == np.bincount(labels[parts[part]], minlength=len(counts)).tolist()


def test_seeds_are_repeated_stratified_splits():
    labels = labels_of([40, 20])
    tested = np.zeros(60)
    for seed in range(400):
        test = partition(labels, "own", seed, {"validation": 0.2, "test": 0.3})["test"]
        assert np.bincount(labels[test]).tolist() == [12, 6]
        tested[test] += 1
    # each image tests in 30 % of the splits; one share has a standard deviation of 0.023
    np.testing.assert_allclose(tested / 400, 0.3, atol=0.1)


def test_another_seed_or_dataset_is_another_partition():
    labels = labels_of([50, 50])
    one = partition(labels, "digits", 0, FIFTHS)["train"]
    np.testing.assert_array_equal(one, partition(labels, "digits", 0, FIFTHS)["train"])
    assert not np.array_equal(one, partition(labels, "digits", 1, FIFTHS)["train"])
    assert not np.array_equal(one, partition(labels, "glyphs", 0, FIFTHS)["train"])


@given(COUNTS, SEEDS, st.data())
def test_a_class_subset_moves_no_image(counts: list[int], seed: int, data: st.DataObject):
    labels = labels_of(counts)
    classes = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, unique=True))
    for indices in partition(labels, "digits", seed, FIFTHS).values():
        restricted = restrict(indices, labels, classes)
        np.testing.assert_array_equal(restricted, [i for i in indices if labels[i] in classes])
        for which in ("all", "a", "b"):
            np.testing.assert_array_equal(
                half(restricted, labels, which), restrict(half(indices, labels, which), labels, classes)
            )


@given(COUNTS, SEEDS)
def test_halves_are_disjoint_stratified_and_together_all(counts: list[int], seed: int):
    labels = labels_of(counts)
    train = partition(labels, "digits", seed, FIFTHS)["train"]
    halves = {which: half(train, labels, which) for which in ("all", "a", "b")}
    np.testing.assert_array_equal(halves["all"], train)
    np.testing.assert_array_equal(np.sort(np.concatenate([halves["a"], halves["b"]])), train)
    of_train = np.bincount(labels[train], minlength=len(counts))
    for which, indices in halves.items():
        expected = [half_size(int(n), which) for n in of_train]
        assert np.bincount(labels[indices], minlength=len(counts)).tolist() == expected
        assert (np.diff(indices) > 0).all()


def test_halves_are_random_and_depend_on_the_partition_alone():
    labels = labels_of([200])
    train = partition(labels, "digits", 0, FIFTHS)["train"]
    a, b = half(train, labels, "a"), half(train, labels, "b")
    assert a.min() < b.max()
    assert b.min() < a.max()
    assert not np.array_equal(a, train[::2])
    np.testing.assert_array_equal(a, half(train[::-1], labels, "a"))


def test_an_unknown_half_is_refused():
    with pytest.raises(ValueError, match="unknown half 'c'; allowed: all, a, b"):
        half_size(4, "c")
    with pytest.raises(ValueError, match="unknown half 'c'"):
        half(np.arange(4), np.zeros(4, dtype=np.int64), "c")


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), SEEDS, st.data())
def test_draws_are_nested_stratified_and_without_repeats(counts: list[int], seed: int, data: st.DataObject):
    labels = labels_of(counts)
    indices = np.arange(len(labels))
    few, more = sorted(data.draw(st.tuples(*[st.integers(0, min(counts))] * 2)))
    draws = {k: draw_shots(indices, labels, k, np.random.default_rng(seed)) for k in (few, more, None)}
    for label, n in enumerate(counts):
        by_class = {k: drawn[labels[drawn] == label].tolist() for k, drawn in draws.items()}
        assert by_class[few] == by_class[more][:few]
        assert by_class[more] == by_class[None][:more]
        assert len(by_class[few]) == few
        assert len(by_class[more]) == more
        assert len(by_class[None]) == n
    assert sorted(draws[None].tolist()) == indices.tolist()


def test_other_streams_draw_other_images():
    labels = labels_of([40, 40])
    draws = [draw_shots(np.arange(80), labels, 10, np.random.default_rng(seed)) for seed in (0, 1)]
    assert set(draws[0].tolist()) != set(draws[1].tolist())


def test_a_draw_comes_from_the_given_images_alone():
    labels = labels_of([40, 40])
    train = partition(labels, "digits", 0, FIFTHS)["train"]
    assert set(draw_shots(train, labels, 5, np.random.default_rng(0))) <= set(train)


def test_too_few_images_name_class_and_numbers():
    labels = np.repeat([0, 1], [9, 4])
    with pytest.raises(ValueError, match="class 1 has 4 images to draw from, but 6 shots are asked"):
        draw_shots(np.arange(13), labels, 6, np.random.default_rng(0))
