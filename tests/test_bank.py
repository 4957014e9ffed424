"""A bank of kernels: what is in it, what starts that draw from it keep, and which jobs it takes."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import NOWHERE, job, plan_of, put, tiny, told_to
from hypothesis import given
from hypothesis import strategies as st
from nets import plain, plain_of

from whypretrain.config.models import ConfigError
from whypretrain.files.storage import read_tensors, write_tensors
from whypretrain.jobs.fingerprints import closure
from whypretrain.jobs.plan import Plan
from whypretrain.networks.banks import layer_kernels, pool_kernels, without_dead
from whypretrain.stages import pool_kernels as stage
from whypretrain.stages import treat_checkpoint
from whypretrain.treatments.treating import apply_treatment

FROM_BANK = ("bank-kernels", "bank-layer")
ALL = (1, 2, 3, 4)
SHAPES = ((8, 3, 5), (10, 8, 3), (9, 10, 1), (7, 9, 3))  # of four layers: out, in, kernel

Weights = dict[str, np.ndarray]
CARD = plain(widths=(8, 10, 9, 7), kernels=(5, 3, 1, 3), channels=3)


def network(seed: int, scale: float = 1.0) -> Weights:
    """Weights that are all distinct, under norms that aren't the identity; layers of different scale."""
    generator = np.random.default_rng(seed)
    weights: Weights = {}
    for layer, (outputs, inputs, kernel) in enumerate(SHAPES, 1):
        shape = (outputs, inputs, kernel, kernel)
        weights[f"layer{layer}.weight"] = (generator.normal(0.1, scale * layer, shape)).astype(np.float32)
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"norm{layer}.{part}"] = generator.uniform(1, 2, outputs).astype(np.float32)
    return weights


def as_set(kernels: np.ndarray) -> set[bytes]:
    return {kernel.tobytes() for kernel in kernels.reshape(-1, *kernels.shape[-2:])}


def counted(kernels: np.ndarray) -> list[bytes]:
    return sorted(kernel.tobytes() for kernel in kernels.reshape(-1, *kernels.shape[-2:]))


# --- the bank ----------------------------------------------------------------------------


def test_a_bank_has_each_layers_kernels_of_all_networks_in_their_order() -> None:
    networks = [network(1), network(2)]
    bank = pool_kernels(networks, CARD, 0)
    assert list(bank) == ["layer1.weight", "layer2.weight", "layer3.weight", "layer4.weight"]
    for layer, (outputs, inputs, kernel) in enumerate(SHAPES, 1):
        both = [weights[f"layer{layer}.weight"].reshape(-1, kernel, kernel) for weights in networks]
        assert bank[f"layer{layer}.weight"].shape == (2 * outputs * inputs, kernel, kernel)
        np.testing.assert_array_equal(bank[f"layer{layer}.weight"], np.concatenate(both))


def test_kernels_below_the_share_of_the_largest_norm_are_dropped_and_no_other() -> None:
    shape = np.zeros((3, 3), np.float32)
    shape[1, 1] = 1
    sizes = np.float32([4, 0.5, 0, -1, 0.9990, 2])  # a quarter of the largest is 1: -1 is kept, 0.999 isn't
    kept = without_dead(sizes[:, None, None] * shape, 0.25)
    np.testing.assert_array_equal(kept[:, 1, 1], [4, -1, 2])
    assert len(without_dead(sizes[:, None, None] * shape, 0)) == len(sizes)


def test_each_network_and_layer_is_pruned_by_its_own_largest_norm() -> None:
    small, large = network(1, 0.001), network(2, 1000.0)
    for weights in (small, large):
        weights["layer2.weight"][:3] *= 1e-6
    together = pool_kernels([small, large], CARD, 0.15)
    assert as_set(together["layer2.weight"]) == {
        kernel
        for weights in (small, large)
        for kernel in as_set(without_dead(weights["layer2.weight"][3:].reshape(-1, 3, 3), 0.15))
    }
    assert len(as_set(together["layer2.weight"]) & as_set(small["layer2.weight"][3:])) > 40


@given(share=st.floats(0, 0.99), seed=st.integers(0, 99), kernel=st.sampled_from([3, 5]))
def test_pruning_keeps_the_largest_and_prunes_no_further_when_done_again(share: float, seed: int, kernel: int) -> None:
    kernels = np.random.default_rng(seed).standard_normal((30, kernel, kernel)).astype(np.float32)
    kept = without_dead(kernels, share)
    norms = np.linalg.norm(kernels.reshape(30, -1).astype(np.float64), axis=1)
    assert kernels[norms.argmax()].tobytes() in as_set(kept)
    assert as_set(kept) <= as_set(kernels)
    np.testing.assert_array_equal(without_dead(kept, share), kept)


def test_scalars_and_a_layer_of_zeros_are_kept_whole() -> None:
    scalars = np.float32([0, 1e-9, 1, -5])[:, None, None]
    np.testing.assert_array_equal(without_dead(scalars, 0.5), scalars)
    assert without_dead(np.zeros((4, 3, 3), np.float32), 0.15).shape == (4, 3, 3)


def test_networks_of_two_architectures_are_refused() -> None:
    other = network(2)
    other["layer2.weight"] = np.zeros((10, 8, 5, 5), np.float32)
    with pytest.raises(ValueError, match="one architecture"):
        pool_kernels([network(1), other], CARD, 0)


# --- starts from a bank --------------------------------------------------------------------


def test_of_one_network_a_bank_layer_is_its_own_layer_shuffled() -> None:
    source = network(1)
    bank = pool_kernels([source], CARD, 0)
    start = apply_treatment(network(9), "bank-layer", ALL, 0, CARD, bank)
    shuffled = apply_treatment(source, "shuffle-kernels", ALL, 0, CARD)
    for layer in ALL:
        assert counted(start[f"layer{layer}.weight"]) == counted(source[f"layer{layer}.weight"])
        # the same stream and the same draw, so the same bits
        assert start[f"layer{layer}.weight"].tobytes() == shuffled[f"layer{layer}.weight"].tobytes()


def test_of_several_networks_a_bank_layer_takes_no_kernel_twice_and_some_of_each() -> None:
    networks = [network(1), network(2), network(3)]
    start = apply_treatment(network(9), "bank-layer", ALL, 0, CARD, pool_kernels(networks, CARD, 0))
    for layer in ALL:
        drawn = counted(start[f"layer{layer}.weight"])
        assert len(set(drawn)) == len(drawn)
        each = [len(set(drawn) & as_set(weights[f"layer{layer}.weight"])) for weights in networks]
        assert sum(each) == len(drawn)
        assert min(each) > len(drawn) / 8  # a third of each is expected


def test_a_layer_that_has_too_few_kernels_in_the_bank_takes_none_more_often_than_needed() -> None:
    bank = {"layer2.weight": np.arange(30 * 9, dtype=np.float32).reshape(30, 3, 3)}
    drawn = apply_treatment(network(9), "bank-layer", (2,), 0, CARD, bank)[
        "layer2.weight"
    ]  # 80 of 30, so up to 3 times
    values, often = np.unique(drawn[:, :, 0, 0], return_counts=True)
    assert set(values) <= set(range(0, 270, 9))
    assert often.max() == 3
    assert often.sum() == 80


def test_bank_kernels_come_from_all_layers_of_their_size_and_only_from_the_bank() -> None:
    bank = pool_kernels([network(1), network(2)], CARD, 0)
    start = apply_treatment(network(9), "bank-kernels", ALL, 0, CARD, bank)
    for layer, (outputs, inputs, kernel) in enumerate(SHAPES, 1):
        pools = {name: pool for name, pool in bank.items() if pool.shape[1:] == (kernel, kernel)}
        assert set(pools) == {1: {"layer1.weight"}, 3: {"layer3.weight"}}.get(layer, {"layer2.weight", "layer4.weight"})
        drawn = start[f"layer{layer}.weight"].reshape(outputs * inputs, -1).astype(np.float64)
        everything = np.concatenate(list(pools.values())).reshape(-1, kernel**2).astype(np.float64)
        scale = drawn.std() / everything.std()
        # each drawn kernel, by its direction, is one of the pool
        if kernel > 1:
            cosines = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)) @ (
                everything / np.linalg.norm(everything, axis=1, keepdims=True)
            ).T
            assert (cosines.max(axis=1) > 1 - 1e-6).all()
            found = cosines.argmax(axis=1)
            first = len(next(iter(pools.values())))
            if len(pools) > 1:
                share = (found < first).mean()
                assert abs(share - first / len(everything)) < 5 * np.sqrt(share * (1 - share) / len(found))
            # one scale for all: kernels of a layer with larger weights stay larger
            ratios = np.linalg.norm(drawn, axis=1) / np.linalg.norm(everything[found], axis=1)
            np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)
            assert 0.5 < ratios[0] / scale < 2


def test_bank_kernels_are_drawn_with_replacement() -> None:
    bank = {"layer1.weight": np.random.default_rng(0).standard_normal((2000, 3, 3)).astype(np.float32)}
    weights = {"layer1.weight": np.random.default_rng(1).standard_normal((50, 40, 3, 3)).astype(np.float32)}
    drawn = apply_treatment(weights, "bank-kernels", (1,), 0, plain_of(weights), bank)["layer1.weight"]
    assert len(as_set(drawn)) / 2000 == pytest.approx(1 - 1 / np.e, abs=0.03)  # SD 0.007 of 2000 slices


def test_bank_kernels_keep_the_deviation_of_the_layer_and_bank_layer_that_of_the_bank() -> None:
    treated, bank = network(9), pool_kernels([network(1, 50.0), network(2, 50.0)], CARD, 0)
    rescaled = apply_treatment(treated, "bank-kernels", ALL, 0, CARD, bank)
    as_they_are = apply_treatment(treated, "bank-layer", ALL, 0, CARD, bank)
    for name in (f"layer{layer}.weight" for layer in ALL):
        assert rescaled[name].std(dtype=np.float64) == pytest.approx(treated[name].std(dtype=np.float64), rel=1e-6)
        assert as_they_are[name].std() > 20 * treated[name].std()


@pytest.mark.parametrize("treatment", FROM_BANK)
def test_a_bank_of_zeros_or_of_one_scalar_makes_no_nan(treatment: str) -> None:
    bank = pool_kernels([network(1)], CARD, 0)
    bank = {"layer1.weight": 0 * bank["layer1.weight"], "layer3.weight": np.ones((1, 1, 1), np.float32)}
    treated = apply_treatment(network(9), treatment, (1, 3), 0, CARD, bank)
    assert (treated["layer1.weight"] == 0).all()
    assert (treated["layer3.weight"] == 1).all()


@pytest.mark.parametrize("treatment", FROM_BANK)
def test_no_bank_or_a_bank_without_such_kernels_is_refused(treatment: str) -> None:
    with pytest.raises(ValueError, match="from a bank, and none was given"):
        apply_treatment(network(1), treatment, (1,), 0, CARD)
    bank = {"layer1.weight": np.zeros((4, 3, 3), np.float32)}
    with pytest.raises(ValueError, match="no kernels of 5x5"):
        apply_treatment(network(1), treatment, (1,), 0, CARD, bank)


def test_what_is_drawn_is_the_same_wherever_it_is_drawn() -> None:
    bank = {"layer1.weight": np.arange(31 * 9, dtype=np.float32).reshape(31, 3, 3)}
    weights = {"layer1.weight": np.zeros((6, 4, 3, 3), np.float32)}
    drawn = apply_treatment(weights, "bank-layer", (1,), 3, plain_of(weights), bank)["layer1.weight"]
    assert hashlib.sha256(drawn.tobytes()).hexdigest()[:16] == "ba2f82e18484869d"


# --- the jobs ------------------------------------------------------------------------------


def test_a_bank_is_pooled_for_each_seed_and_says_how_many_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [tmp_path / f"{name}.{seed}.safetensors" for seed in (4, 5) for name in ("a", "b")]
    for number, file in enumerate(files):
        weights = network(number)
        weights["layer2.weight"][0] = 0  # 8 dead kernels of each network
        write_tensors(file, weights, NOWHERE)
    spec: dict[str, Any] = {"sources": [["a", "1"], ["b", "1"]], "prune": 1e-6, "seeds": [4, 5], "versions": {}}
    spec["architecture"] = CARD.architecture
    banks = [tmp_path / f"bank.{seed}.safetensors" for seed in (4, 5)]
    with caplog.at_level("INFO"):
        stage.main(job(spec, {"banks": banks}, checkpoints=files))
    said = [record.getMessage() for record in caplog.records]
    assert "seed 4, layer1.weight: 48 of 48 kernels kept" in said
    assert "seed 5, layer2.weight: 144 of 160 kernels kept" in said
    for number, bank in enumerate(banks):
        found = read_tensors(bank)
        assert set(found) == {f"layer{layer}.weight" for layer in ALL}
        for layer in ("layer1.weight", "layer3.weight", "layer4.weight"):
            expected = [layer_kernels(read_tensors(file), CARD)[layer] for file in files[2 * number : 2 * number + 2]]
            np.testing.assert_array_equal(found[layer], np.concatenate(expected))
        assert (np.abs(found["layer2.weight"]).sum(axis=(1, 2)) > 0).all()

    # and a start is treated with the bank of its own seed
    untrained, starts = tmp_path / "none.safetensors", [tmp_path / f"start.{seed}.safetensors" for seed in (4, 5)]
    write_tensors(untrained, network(9), NOWHERE)
    spec = {"treatment": "bank-layer", "layers": [3], "seeds": [4, 5], "architecture": CARD.architecture}
    treat_checkpoint.main(job(spec, {"starts": starts}, checkpoints=[untrained] * 2, references=banks))
    for bank, start in zip(banks, starts, strict=True):
        assert as_set(read_tensors(start)["layer3.weight"]) <= as_set(read_tensors(bank)["layer3.weight"])


def banked(treatments: tuple[str, ...] = FROM_BANK, **bank: Any) -> dict[str, Any]:
    """The tiny study with starts from a bank of two sources, neither of which any study starts from."""
    raw = put(tiny(), "sources.one", {"task": "letters", "pretraining": "brief"})
    raw = put(raw, "sources.two", {"task": "letters", "pretraining": "brief"})
    raw = put(raw, "studies.tiny.grid.1.treatments", ["intact", *treatments])
    return put(raw, "bank", {"sources": ["two", "one"], **bank})


def wildcards(plan: Plan, treatment: str) -> SimpleNamespace:
    (arm,) = (arm for arm in plan.arms if arm.treatment == treatment)
    return SimpleNamespace(**arm.columns())


def test_starts_from_a_bank_read_it_and_it_reads_the_checkpoints_of_its_sources() -> None:
    plan, seeds = plan_of(banked()), (0, 1)
    pool, treat = (plan.forms_of(name)[0] for name in ("pool_kernels", "treat_checkpoint"))
    for treatment in FROM_BANK:
        found = wildcards(plan, treatment)
        assert (found.source, found.epoch, found.span) == ("none", "0", "all")
        assert treat.references(found, seeds) == [
            "results/banks/tiny/s0.safetensors",
            "results/banks/tiny/s1.safetensors",
        ]
    assert treat.references(wildcards(plan, "shuffle-kernels"), seeds) == []
    assert set(pool.read(wildcards(plan, "bank-layer"), seeds)) <= {
        plan.paths.file("checkpoint", architecture=architecture, source=source, epoch=epoch, seed=seed)
        for architecture, source, epoch in plan.annealed(plan.grid)
        for seed in (0, 1)
    }
    assert pool.outputs(seeds) == {"banks": [f"results/banks/{{architecture}}/s{seed}.safetensors" for seed in seeds]}
    assert pool.read(SimpleNamespace(architecture="tiny"), seeds) == [
        f"results/sources/tiny/{source}/s{seed}/epoch-1+anneal.safetensors"
        for seed in (0, 1)
        for source in ("two", "one")
    ]


def test_the_sources_of_a_bank_are_trained_where_something_draws_from_it_and_only_there() -> None:
    plan = plan_of(banked())
    assert plan.grid.trained_sources == [("tiny", "letters"), ("tiny", "one"), ("tiny", "two")]
    assert ("tiny", "two", "1+anneal") in plan.annealed(plan.grid)
    assert {("tiny", "one", "digits"), ("tiny", "two", "digits")} <= plan.grid.uses()
    raw = plan_of(banked(epoch=0.5))  # a checkpoint that every source keeps, so no branch
    assert [branch for branch in raw.annealed(raw.grid) if branch[1] != "letters"] == []
    unused = plan_of(banked(treatments=()))
    assert unused.grid.trained_sources == [("tiny", "letters")]
    assert plan_of(tiny()).forms_of("pool_kernels") == []


def test_a_bank_alone_has_the_images_of_its_sources_prepared() -> None:
    raw = put(banked(), "tasks.glyphs", {"dataset": "others"})
    raw = put(raw, "datasets.others", {"module": "glyphs", "parameters": {"images_per_class": 30}})
    raw = put(raw, "sources.two.task", "glyphs")
    plan = plan_of(raw)
    assert told_to(plan, "prepare_dataset", dataset="others")["size"] == 8
    spec = told_to(plan, "pretrain_source", architecture="tiny", source="two")
    assert spec["normalisation"] == {"mean": 0.2, "standard_deviation": 0.35}


def test_the_spec_of_a_bank_is_all_it_uses_and_a_start_from_it_knows_its_own_values_alone() -> None:
    plan = plan_of(banked(prune=0.25))
    spec = told_to(plan, "pool_kernels", (0, 1), architecture="tiny")
    assert spec["versions"].keys() == {"numpy"}
    del spec["versions"], spec["architecture"]
    assert spec == {"sources": [["two", "1+anneal"], ["one", "1+anneal"]], "prune": 0.25, "seeds": [0, 1]}
    start = vars(wildcards(plan, "bank-layer"))
    assert told_to(plan, "treat_checkpoint", **start) == told_to(plan_of(banked()), "treat_checkpoint", **start)


def test_a_bank_changes_no_job_that_was_there() -> None:
    before, after = plan_of(tiny()), plan_of(banked())
    for arm in before.arms:
        for stage_name in ("treat_checkpoint", "measure_start"):
            assert told_to(before, stage_name, **arm.columns()) == told_to(after, stage_name, **arm.columns())
    letters = {"architecture": "tiny", "source": "letters"}
    assert told_to(before, "pretrain_source", **letters) == told_to(after, "pretrain_source", **letters)


def test_code_of_banks_is_reached_by_what_draws_from_them_alone() -> None:
    def reached(*modules: str) -> bool:
        return "whypretrain.networks.banks" in closure([f"whypretrain.{module}" for module in modules])

    assert reached("stages.pool_kernels")
    assert all(reached(f"treatments.ladder.{treatment.replace('-', '_')}") for treatment in FROM_BANK)
    assert not reached("stages.treat_checkpoint", "treatments.ladder.shuffle_kernels", "treatments.ladder.glorot")


def test_starts_from_a_bank_keep_their_names() -> None:
    plan = plan_of(put(banked(), "studies.tiny.grid.0.treatments", ["intact", "shuffle-kernels", *FROM_BANK, "glorot"]))
    found = {(arm.source, arm.treatment) for arm in plan.arms}
    # a bank's start keeps bias and norms of what is treated; of fresh weights nothing of a source is left
    assert found == {
        *(("letters", treatment) for treatment in ("intact", "shuffle-kernels", *FROM_BANK)),
        *(("none", treatment) for treatment in ("intact", "glorot", *FROM_BANK)),
    }


OVERLAPPING = {"tasks.letters.classes": ["A", "B", "C"], "tasks.few": {"dataset": "glyphs", "classes": ["C", "D"]}}

MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no bank": ({"bank": None}, ["studies.tiny.grid.1.treatments", "'bank-kernels'", "bank.sources", "letters, one"]),
    "unknown source": ({"bank.sources": ["one", "three"]}, ["bank.sources", "'three'", "letters, one, two"]),
    "the source none": ({"bank.sources": ["none"]}, ["bank.sources", "'none'", "letters, one, two"]),
    "no source": ({"bank.sources": []}, ["bank.sources"]),
    "a source twice": ({"bank.sources": ["one", "one"]}, ["bank", "['one', 'one']", "once"]),
    "unknown checkpoint": ({"bank.epoch": 7}, ["bank.epoch", "'7.0'", "'two'", "0, 0.5, 1, last"]),
    "everything pruned": ({"bank.prune": 1}, ["bank.prune", "1", "less than 1"]),
    "misspelt key": ({"bank.epochs": 1}, ["bank.epochs", "did you mean 'epoch'", "prune"]),
    "overlap with the target": (
        {
            **OVERLAPPING,
            "pretraining.brief.checkpoints": [0, 1],
            "sources.letters.task": "digits",
            "studies.tiny.settings": {},
            "studies.tiny.claims": [],
            "studies.tiny.grid.0.sources": ["none"],
            "studies.tiny.grid.0.targets": ["few.2"],
            "studies.tiny.grid.1.targets": ["few.2"],
        },
        ["studies.tiny.grid.1", "'bank-kernels'", "bank.sources", "'two'", "'few.2'", "disjoint classes"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_key_value_and_what_is_allowed(mistake: str) -> None:
    changes, expected = MISTAKES[mistake]
    raw = banked()
    for key, value in changes.items():
        raw = put(raw, key, value)
    with pytest.raises(ConfigError) as found:
        plan_of(raw)
    assert [text for text in expected if text not in str(found.value)] == [], str(found.value)
    assert "\n" not in str(found.value)
