"""The tables: their columns, what each means, and what may stand in it (pandera), checked on writing.

All are long and tidy, one fact a row. Accuracies (`top1_…`) are fractions of 1, losses are
cross-entropies in nats.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera import Check, Column

from whypretrain.files.origins import Origin
from whypretrain.files.storage import write_columns

KEY_COLUMNS = {
    "architecture": Column(str, description="name in config"),
    "source": Column(str, description="source network; none is the untrained one"),
    "epoch": Column(str, description="the source's checkpoint; +anneal is its annealed branch"),
    "treatment": Column(str, description="what was done to the checkpoint's weights"),
    "span": Column(str, description="the layers it was done to"),
    "target": Column(str, description="target task"),
    "shots": Column(str, description="training images per class; full is all"),
    "mode": Column(str, description="what learns on the target"),
    "recipe": Column(str, description="hyper-parameters of target training; none for probes and SVMs"),
}
RUN_COLUMNS = {
    **KEY_COLUMNS,
    "learning_rate": Column(
        float, Check.gt(0), nullable=True, description="peak learning rate; empty where recipe is none"
    ),
    "seed": Column(int, Check.ge(0), description="seed of all streams"),
}


def _fraction(description: str, nullable: bool = False) -> Column:
    return Column(float, Check.in_range(0, 1), nullable=nullable, description=f"{description}, fraction of 1")


def _balanced(description: str) -> Column:
    return _fraction(f"{description}: mean over classes of the share that is right; guessing gives 1 / classes")


def _loss(description: str, nullable: bool = False) -> Column:
    return Column(float, Check.ge(0), nullable=nullable, description=f"{description}, nats")


def _amount(description: str) -> Column:
    return Column(float, Check.ge(0), nullable=True, description=description)


def _cosine(description: str) -> Column:
    return Column(float, Check.in_range(-1.000001, 1.000001), nullable=True, description=description)


def _cka(rows: str) -> Column:
    description = f"debiased linear CKA of activations, {rows}; empty where undefined"
    return Column(float, Check.le(1.000001), nullable=True, description=description)


PARTS = {"train": "training images", "validation": "validation images", "test": "test images"}
FEW = {
    "validation_few": "as few validation images as a user has; of a probe or SVM with the C that they select",
    "test_few": "test images, of what these few select: of a probe or SVM with another C, else the same",
}

LARGEST = {"largest_class": _fraction("share of test images that always guessing the largest class gets right")}
STUDY = {"study": Column(str, description="study in config")}
ESTIMATE = {
    "n": Column(int, Check.ge(0), description="seeds"),
    "effect": Column(float, nullable=True, description="mean paired difference"),
    "low": Column(float, nullable=True, description="lower limit of its interval"),
    "high": Column(float, nullable=True, description="upper limit of its interval"),
    "p": Column(float, Check.in_range(0, 1), nullable=True, description="p value"),
}

MEAN = {
    "mean": Column(float, Check.in_range(-1, 1), nullable=True, description="test top-1, mean over seeds"),
    "low": Column(float, nullable=True, description="lower limit of its 95 % t-interval over seeds"),
    "high": Column(float, nullable=True, description="upper limit of its 95 % t-interval over seeds"),
    "n": Column(int, Check.ge(1), description="seeds"),
}
LAYER = {"layer": Column(int, Check.ge(1), description="layer, counted from 1 at the input")}
MOMENT = {
    "moment": Column(str, Check.isin(["start", "final"]), description="before or after target training"),
    "images": Column(str, Check.isin(["source", "target"]), description="whose test images the features are of"),
}
PAIR = {
    "pair": Column(str, description="pair of networks in config"),
    "architecture": KEY_COLUMNS["architecture"],
    "seed": RUN_COLUMNS["seed"],
}
PAIR_RATES = {
    f"{place}_rate": Column(
        float,
        Check.gt(0),
        nullable=True,
        description=f"selected learning rate of the {place} network; empty where it hasn't learnt by steps",
    )
    for place in ("first", "second")
}
SIMILARITY = {
    "relative_l2": Column(
        float, Check.ge(0), nullable=True, description="norm of the difference over norm of the first"
    ),
    "cosine_mean": _cosine("mean over kernels of the cosine of the two"),
    "cka": _cka("with images as rows"),
    "cka_positions": _cka("with each position of each image as a row"),
    "cka_pooled": _cka("of activations averaged over positions, with images as rows"),
}

CELL = {
    **STUDY,
    "setting": Column(str, description="source and target in config, or `any source` for all those of a target"),
    **{name: KEY_COLUMNS[name] for name in ("architecture", "target", "shots")},
}
WAY = {
    "source": KEY_COLUMNS["source"],
    "family": Column(str, description="modes among which validation chose: probe, probe-L, svm-L, freeze-N, lpft, …"),
    "mode": Column(str, description="the chosen one"),
    "recipe": KEY_COLUMNS["recipe"],
    "learning_rate": RUN_COLUMNS["learning_rate"],
}

TABLES: dict[str, dict[str, Column]] = {
    "sources": {
        **{name: KEY_COLUMNS[name] for name in ("architecture", "source")},
        "objective": Column(
            str,
            Check.isin(["labels", "random-labels", "reconstruction", "published"]),
            description="what the source learns",
        ),
        "seed": RUN_COLUMNS["seed"],
        "epoch": Column(float, Check.ge(0), description="passes over the source's training images"),
        "annealed": Column(bool, description="read at the end of the annealed branch from this epoch"),
        "step": Column(int, Check.ge(0), description="updates; of the branch where annealed"),
        "loss_train": _loss("mean training loss since the read-out before, on the labels it learns", nullable=True),
        "top1_train": _fraction("top-1 of the batches since then, on the labels it learns", nullable=True),
        **{
            f"loss_{part}": _loss(f"loss on {PARTS[part]}, true labels; on test images at checkpoints", nullable=True)
            for part in ("validation", "test")
        },
        **{
            f"top1_{part}": _fraction(f"top-1 on {PARTS[part]}, true labels", nullable=True)
            for part in ("validation", "test")
        },
        "layer": Column(
            float,
            Check.ge(1),
            nullable=True,
            description="layer that learns to reconstruct, from 1 at the input; empty where labels are learnt, "
            "as losses and top-1 are empty here",
        ),
        **{
            f"reconstruction_{part}": Column(
                float,
                Check.ge(0),
                nullable=True,
                description=f"mean squared error of reconstructing what the layer takes, {text}, over its variance "
                "about its channels' means on training images: 1 says nothing",
            )
            for part, text in PARTS.items()
        },
    },
    "starts": {
        **{name: KEY_COLUMNS[name] for name in ("architecture", "source", "epoch", "treatment", "span")},
        **{name: KEY_COLUMNS[name] for name in ("target", "shots")},
        "seed": RUN_COLUMNS["seed"],
        "source_top1_stored": _fraction("source head on source test images, norm statistics as stored", True),
        "source_top1_reestimated": _fraction("the same, statistics re-estimated on source training images", True),
        **{f"probe_top1_{part}": _fraction(f"probe on the target, {PARTS[part]}") for part in PARTS},
        "probe_strength": Column(float, Check.gt(0), description="C = 1 / L2 of the probe, selected on validation"),
        "probe_converged": Column(bool, description="whether the probe's optimiser converged"),
        "log_me": Column(
            float, nullable=True, description="LogME of the features of the target's training images, nats an image"
        ),
        "leep": Column(
            float, Check.le(1e-9), nullable=True, description="LEEP of the source's head on them, nats an image"
        ),
        "proxy_a_distance": Column(
            float,
            Check.in_range(-2, 2),
            nullable=True,
            description="of the source task's and the target task's test images, on the untrained network's features",
        ),
    },
    "selected": {
        **STUDY,
        **KEY_COLUMNS,
        "learning_rate": Column(
            float, Check.gt(0), nullable=True, description="rate that validation selected, averaged over pilot seeds"
        ),
        "grid_edge": Column(bool, description="it is the least or the largest of its grid"),
    },
    "runs": {
        **RUN_COLUMNS,
        "diverged": Column(bool, description="loss not finite; scores are those of guessing all classes alike"),
        "collapsed": Column(
            bool, description="ended with balanced accuracy on training images below 1 / classes + 5 points"
        ),
        **{f"top1_{part}": _fraction(f"top-1 on {text}") for part, text in PARTS.items()},
        "balanced_test": _balanced("balanced accuracy on test images"),
        **{f"loss_{part}": _loss(f"loss on {text}; empty for an SVM", nullable=True) for part, text in PARTS.items()},
        **{f"top1_{part}": _fraction(f"top-1 on {text}") for part, text in FEW.items()},
        **{f"loss_{part}": _loss(f"loss on {text}; empty for an SVM", nullable=True) for part, text in FEW.items()},
        "steps": Column(int, Check.ge(0), description="updates done"),
        "converged": Column(bool, description="whether the probe or SVM converged; true for others"),
        "strength": Column(
            float,
            Check.gt(0),
            nullable=True,
            description="C = 1 / L2 of a probe, an SVM, or the probe that lpft starts from",
        ),
        "strength_few": Column(
            float, Check.gt(0), nullable=True, description="C as the few validation images select it"
        ),
    },
    "history": {
        **RUN_COLUMNS,
        "target_epoch": Column(int, Check.ge(0), description="read-out epoch of target training; 0 is the start"),
        "step": Column(int, Check.ge(0), description="updates done"),
        "loss_train": _loss("mean loss of the epoch's batches; at 0 on all training images"),
        "top1_train": _fraction("top-1 of the epoch's batches; at 0 on all training images"),
        "loss_validation": _loss("loss on validation images", nullable=True),
        "top1_validation": _fraction("top-1 on validation images"),
    },
    "kernels": {
        **RUN_COLUMNS,
        "target_epoch": Column(int, Check.ge(0), description="read-out epoch of target training; 0 is the start"),
        "layer": Column(int, Check.ge(1), description="layer, counted from 1 at the input"),
        "cosine_mean": _cosine("mean over kernels of the cosine between start and current weights"),
        "cosine_abs_mean": _cosine("mean of its absolute value"),
        "cosine_weighted_mean": _cosine("mean weighted by the norm of the start's kernel"),
        **{f"cosine_q{q}": _cosine(f"{q} % quantile over kernels") for q in ("05", "25", "50", "75", "95")},
        "cosine_null": _cosine("mean with kernels re-paired at random within the layer"),
        "cosine_abs_null": _cosine("mean absolute value with kernels re-paired at random"),
        "cosine_abs_gaussian": _cosine("mean absolute cosine of independent Gaussian kernels of that size"),
        "kernels": Column(int, Check.ge(0), description="kernels counted"),
        "kernels_excluded": Column(int, Check.ge(0), description="kernels left out for a norm near zero"),
    },
    "spectra": {
        **RUN_COLUMNS,
        **MOMENT,
        "centred": Column(bool, description="whether the features' mean was taken off first"),
        "component": Column(int, Check.ge(1), description="singular value, counted from 1, the largest"),
        "singular_value": Column(float, Check.ge(0), nullable=True, description="of the features of test images"),
        "share": _fraction("singular value over the sum of all", nullable=True),
        "share_squared": _fraction("its square over the sum of all squares", nullable=True),
    },
    "parts": {
        **RUN_COLUMNS,
        **MOMENT,
        "part": Column(
            str,
            Check.isin(["all", "main", "residual"]),
            description="main: the components that hold 80 % of the singular values (uncentred); residual: the rest",
        ),
        "components": Column(int, Check.ge(0), description="dimensions of the part"),
        "effective_rank": Column(
            float, Check.ge(0), nullable=True, description="exp of the entropy of the shares of its singular values"
        ),
        **{f"top1_{part}": _fraction(f"probe on the part's features, {text}") for part, text in PARTS.items()},
        "strength": Column(float, Check.gt(0), description="C = 1 / L2 of the probe, selected on validation"),
        "converged": Column(bool, description="whether the probe's optimiser converged"),
    },
    "similarity": {**RUN_COLUMNS, **LAYER, **SIMILARITY},
    "criticality": {
        **RUN_COLUMNS,
        **LAYER,
        "put_back": Column(
            str, Check.isin(["start", "initialisation"]), description="where the layer's weights are put back to"
        ),
        "top1_lost": Column(float, Check.in_range(-1, 1), description="loss of test top-1 by it, fraction of 1"),
    },
    "units": {
        **RUN_COLUMNS,
        "moment": MOMENT["moment"],
        **LAYER,
        "unit": Column(
            int, Check.ge(1), description="channel of the layer, counted from 1 in the order of the weights"
        ),
        "rank": Column(
            int,
            Check.ge(0),
            description="patch, counted from 1, the most exciting test image; 0 is the maximised image",
        ),
        "image": Column(
            "Int64", Check.ge(0), nullable=True, coerce=True, description="place among the target's test images, from 0"
        ),
        "label": Column("Int64", Check.ge(0), nullable=True, coerce=True, description="its class, in the task's order"),
        "activation": Column(
            float, Check.gt(0), nullable=True, description="after ReLU, before pooling; empty where nothing excites it"
        ),
        **{
            name: Column(int, Check.ge(0), description=f"{text}, pixels")
            for name, text in (
                ("top", "rows above the window that the unit sees"),
                ("left", "columns left of the window"),
                ("height", "height of the window; 0 where there is no picture"),
                ("width", "width of the window; 0 where there is no picture"),
            )
        },
        "pixels": Column(object, description="the window's grey pixels, one byte each, row by row"),
    },
    "confusion": {
        **RUN_COLUMNS,
        "label": Column(int, Check.ge(0), description="class, in the task's order"),
        "prediction": Column(int, Check.ge(0), description="class predicted, in the task's order"),
        "images": Column(int, Check.ge(0), description="test images of that class with that prediction"),
    },
    "pairs": {**PAIR, **PAIR_RATES, **LAYER, **SIMILARITY},
    "barriers": {
        **PAIR,
        **PAIR_RATES,
        "images": Column(str, Check.isin(["train", "test"]), description="images of the target on which the loss is"),
        "matched": Column(bool, description="after the second network's channels were matched to the first's"),
        "reestimated": Column(bool, description="with the norms' statistics re-estimated at every point"),
        "barrier": Column(
            float, nullable=True, description="largest loss minus the chord on the line between them, nats"
        ),
        "position": Column(float, Check.in_range(0, 1), nullable=True, description="where on the line it lies"),
    },
    "transfer": {
        **STUDY,
        "setting": Column(str, description="pairs of source and target that are averaged, seed by seed"),
        "architecture": KEY_COLUMNS["architecture"],
        "layers": Column(int, Check.ge(0), description="layers copied; 0 for what copies none"),
        "quantity": Column(
            str,
            description="base: from scratch on B; source: B's own pre-training; AnB, BnB: n layers of A or B copied "
            "and frozen; AnB+, BnB+: copied and trained; random: n untrained layers frozen; co-adaptation: BnB minus "
            "base; specificity: AnB minus BnB; gain: AnB+ minus base; own gain: BnB+ minus base; "
            "transfer gain: AnB+ minus BnB+",
        ),
        **MEAN,
    },
    "maturity": {
        **STUDY,
        "setting": Column(str, description="source and target"),
        **{name: KEY_COLUMNS[name] for name in ("architecture", "mode", "recipe")},
        "annealed": Column(bool, description="from annealed branches; epoch 0 stands in both curves"),
        "epoch": Column(float, Check.ge(0), description="the source's checkpoint"),
        "peak": Column(bool, description="the curve's highest point on validation, averaged over seeds"),
        "source_top1": _fraction("the checkpoint's own test top-1 on the source's task, mean", nullable=True),
        "top1_validation": _fraction("mean validation top-1 on the target"),
        **MEAN,
        "gap": Column(float, Check.in_range(-1, 1), description="mean validation top-1 minus mean test top-1"),
    },
    "modes": {
        **CELL,
        **WAY,
        "members": Column(int, Check.ge(1), description="members of the family that validation chose from"),
        "grid_edge": Column(bool, description="the selected rate is the least or the largest of its grid"),
        "top1_validation": _fraction("mean validation top-1 of the chosen member"),
        **MEAN,
        "balanced": _balanced("mean balanced accuracy on test images"),
        **LARGEST,
        "behind": Column(
            float, Check.in_range(0, 1), description="mean test top-1 of the cell's best minus this one's"
        ),
        "p": Column(
            float, Check.in_range(0, 1), description="against being as good as the best: paired tests, Bonferroni"
        ),
        "best": Column(bool, description="the highest mean of the cell; of equals the cheapest"),
        "not_worse": Column(bool, description="in the set that isn't worse than the best (p above 0.05)"),
    },
    "advice": {
        **CELL,
        **WAY,
        "grid_edge": Column(bool, description="the selected rate is the least or the largest of its grid"),
        "expected": _fraction("test top-1, mean over seeds, of the way that is best on all other seeds"),
        "low": Column(float, nullable=True, description="lower limit of its 95 % interval for repeated splits"),
        "high": Column(float, nullable=True, description="upper limit (Nadeau and Bengio 2003)"),
        "n": Column(int, Check.ge(1), description="seeds: splits of the images"),
        **LARGEST,
        "balanced": _balanced("the same way's balanced accuracy on test images"),
        "balanced_low": Column(float, nullable=True, description="lower limit of its interval, as of expected"),
        "balanced_high": Column(float, nullable=True, description="upper limit"),
        "classes": Column(int, Check.ge(1), description="classes of the target"),
        "learnt": Column(bool, description="whether either interval lies above what guessing gives"),
        "compared": Column(int, Check.ge(2), description="ways that were compared"),
        "not_worse": Column(str, description="the other ways that are not worse than the best"),
    },
    "correlations": {
        **STUDY,
        "setting": Column(str, description="source and target"),
        "scope": Column(str, Check.isin(["one architecture", "all architectures"]), description="what is correlated"),
        "architecture": Column(str, description="name in config, or all"),
        **{name: KEY_COLUMNS[name] for name in ("mode", "recipe")},
        "annealed": Column(bool, description="along annealed branches"),
        "points": Column(int, Check.ge(2), description="networks that are correlated, with each seed"),
        **{
            name: Column(
                float,
                Check.in_range(-1.000001, 1.000001) if name == "mean" else None,
                nullable=True,
                description=f"{text} of the rank correlation of source top-1 and target top-1",
            )
            for name, text in (
                ("mean", "mean over seeds"),
                ("low", "lower limit of the 95 % t-interval"),
                ("high", "upper limit of the 95 % t-interval"),
            )
        },
        "n": Column(int, Check.ge(1), description="seeds"),
    },
    "provenance": {
        **RUN_COLUMNS,
        "spec": Column(str, description="all config values that the run depends on, as JSON"),
        "code": Column(str, description="fingerprint of the code that trained it"),
        **{
            name: Column(str, description=f"version of {text}")
            for name, text in (
                ("torch", "torch"),
                ("numpy", "NumPy"),
                ("scikit_learn", "scikit-learn"),
                ("python", "Python"),
                ("cuda", "CUDA, as torch was built with; empty on a CPU"),
                ("cudnn", "cuDNN, a number as torch gives it; empty on a CPU"),
                ("driver", "NVIDIA's driver; empty on a CPU"),
            )
        },
        "device": Column(str, description="name of what it was trained on: the GPU, or the processor"),
        "gpu": Column(str, description="UUID of the GPU, or of the part of one; empty on a CPU"),
        "processor": Column(str, description="name of the machine's processor"),
        "threads": Column(int, Check.ge(1), description="torch threads"),
        "host": Column(str, description="name of the machine"),
        "slurm_job": Column(str, description="SLURM's id of the job or allocation that it ran in; empty elsewhere"),
        "started": Column(str, description="when it began, UTC, ISO 8601"),
        "ended": Column(str, description="when it ended, UTC, ISO 8601"),
        "stops": Column(
            int, Check.ge(0), description="how often it was stopped and went on; seconds and joules are sums"
        ),
        "seconds": Column(float, Check.ge(0), description="wall time, s"),
        "cpu_seconds": _amount("time that the processor's cores spent on it, summed over threads, s"),
        "peak_memory_mb": _amount(
            "most resident memory that its process has had up to its end, MiB; a process trains several runs"
        ),
        "peak_gpu_memory_mb": _amount("most memory of the GPU that its tensors took, MiB; empty on a CPU"),
        "gpu_joules": _amount(
            "energy of the whole GPU meanwhile, with whatever else shared it, J; empty where NVML doesn't tell"
        ),
        "processor_joules": _amount(
            "energy of all the machine's processors meanwhile (RAPL, without memory), with whatever else ran, J; "
            "empty where it can't be read, as it often can by root alone, or may have wrapped more than once"
        ),
    },
    "design": {
        **STUDY,
        **RUN_COLUMNS,
        "relation": Column(str, description="how the source's images stand to the target's"),
        "selected": Column(bool, description="whether validation selected this learning rate for the arm"),
    },
    "arms": {
        **STUDY,
        **KEY_COLUMNS,
        "relation": Column(str, description="how the source's images stand to the target's"),
        "learning_rate": Column(
            float, Check.gt(0), nullable=True, description="rate selected on validation, averaged over seeds"
        ),
        "grid_edge": Column(bool, description="the selected rate is the least or the largest of the grid"),
        "n": Column(int, Check.ge(1), description="seeds"),
        "source_networks": Column(
            int,
            Check.ge(1),
            description="networks that the seeds start from: one, of published weights, for all of them",
        ),
        "diverged": Column(int, Check.ge(0), description="runs of the arm that diverged, at the selected rate"),
        "collapsed": Column(int, Check.ge(0), description="runs of the arm that collapsed, at the selected rate"),
        "unconverged": Column(int, Check.ge(0), description="runs of the arm whose probe did not converge"),
        **{f"top1_{part}": _fraction(f"mean top-1 on {text}") for part, text in PARTS.items()},
        "balanced_test": _balanced("mean balanced accuracy on test images"),
        **LARGEST,
        "top1_test_low": Column(float, nullable=True, description="lower limit of its 95 % t-interval over seeds"),
        "top1_test_high": Column(float, nullable=True, description="upper limit of its 95 % t-interval over seeds"),
        **{f"loss_{part}": _loss(f"mean loss on {text}; empty for an SVM", True) for part, text in PARTS.items()},
    },
    "contrasts": {
        **STUDY,
        **KEY_COLUMNS,
        "minus_source": Column(str, description="source of the arm that is subtracted"),
        "minus_treatment": Column(str, description="its treatment"),
        "minus_span": Column(str, description="its span"),
        "minus_recipe": Column(str, description="its recipe"),
        "measure": Column(str, description="what is compared, each arm at its selected rate"),
        **ESTIMATE,
    },
    "missing": {
        "what": Column(str, description="the table that lacks it; `networks`: a treated checkpoint"),
        "studies": Column(str, description="studies in config that ask for it"),
        **KEY_COLUMNS,
        "pair": PAIR["pair"],
        "learning_rate": RUN_COLUMNS["learning_rate"],
        "seed": Column(int, Check.ge(-1), description="seed of all streams; -1 of what is of all seeds"),
        "path": Column(str, description="its file, or a run's scores"),
        "reason": Column(str, description="why it doesn't count"),
    },
    "completeness": {
        **STUDY,
        **KEY_COLUMNS,
        "runs": Column(
            int, Check.ge(1), description="runs of the arm: seeds times learning rates, as far as these are selected"
        ),
        "runs_there": Column(int, Check.ge(0), description="those that count"),
        "seeds": Column(int, Check.ge(1), description="seeds of the study"),
        "seeds_there": Column(int, Check.ge(0), description="those that count"),
    },
    "calibration": {
        "differences": Column(
            str,
            Check.isin(["normal", "rounded", "counts"]),
            description="what D is, of SD 1: normal, normal rounded to halves, or a count",
        ),
        "kind": Column(str, description="kind of test; the margin is 1"),
        "any": Column(bool, description="any component will do; else all must hold"),
        "truth": Column(
            str,
            Check.isin(["null", "margin", "effect"]),
            description="the claim is just false, just true, or clearly true",
        ),
        "n": Column(int, Check.ge(1), description="seeds"),
        "components": Column(int, Check.ge(1), description="components of a claim"),
        "claims": Column(
            int, Check.ge(1), description="claims that Holm corrects for: half as given, half with an effect"
        ),
        "studies": Column(int, Check.ge(1), description="simulated studies"),
        **{
            name: _fraction(f"share of the claims that are {name}")
            for name in ("supported", "contradicted", "inconclusive")
        },
        "error": _fraction("studies with a support of what is false or a contradiction of what is true", nullable=True),
        "nominal": _fraction("what that may be at most", nullable=True),
        "simulation_error": _fraction("standard error of a simulated rate that is nominal"),
        "covered": _fraction("claims whose interval holds the true difference of the component that is told"),
        "coverage": _fraction("what that is at least, as verdicts say"),
        "all_covered": _fraction("studies in which all intervals do; nothing is promised of it"),
        "as_promised": Column(
            bool, description="chance explains the errors, and the intervals that miss, at what is promised"
        ),
    },
    "stability": {
        **STUDY,
        "claim": Column(str, description="claim in config"),
        "setting": Column(str, description="source and target it is decided on, or their interaction"),
        "verdict": Column(str, Check.isin(["supported", "contradicted", "inconclusive"]), description="verdict"),
        "draws": Column(int, description="draws of pilot seeds, each of which selects learning rates again"),
        "same": _fraction("share of the draws with the same verdict"),
        **{
            name: _fraction(f"share of the draws in which the claim is {name}")
            for name in ("supported", "contradicted", "inconclusive")
        },
    },
    "bench": {
        "what": Column(str, unique=True, description="what is measured"),
        "better": Column(str, Check.isin(["more", "less"]), description="of the measured"),
        "goal": Column(float, Check.gt(0), nullable=True, description="the least of it, or the most"),
        "measured": Column(float, nullable=True, description="median of several rounds"),
        "ratio": Column(
            float,
            Check.gt(0),
            nullable=True,
            description="measured over goal, or goal over measured where less is better: 1 or more meets it",
        ),
        "unit": Column(str, description="of goal and measured"),
        "met": Column(str, Check.isin(["yes", "no", "no goal", "not run"]), description="whether the goal is met"),
        "note": Column(str, description="what it is made of"),
    },
    "verdicts": {
        "claim": Column(str, description="claim in config"),
        "paper": Column(str, description="the paper it is from: the family of Holm's correction"),
        **STUDY,
        "setting": Column(str, description="source and target it is decided on, or their interaction"),
        "statement": Column(str, description="the claim in words"),
        "test": Column(str, description="kind of test"),
        "one_source": Column(
            bool, description="it rests on one source network, the same with every seed, and tells of that one alone"
        ),
        "component": Column(str, description="the part of the claim that decided"),
        **ESTIMATE,
        "coverage": Column(
            float,
            Check.in_range(0, 1),
            description="how often, at least, the interval holds the true difference, for this claim by itself",
        ),
        "margin": Column(float, nullable=True, description="fixed before the runs, or a share of the gain"),
        "unit": Column(str, description="unit of effect, limits and margin; points are accuracies, of which 1 is 100"),
        "verdict": Column(str, Check.isin(["supported", "contradicted", "inconclusive"]), description="verdict"),
        "reason": Column(str, description="why"),
    },
}
TABLES["pilots"] = TABLES["runs"]


def provenance_row(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's row of `provenance`, without its key, from its file; what the file doesn't tell is empty."""
    columns = {name: column for name, column in TABLES["provenance"].items() if name not in RUN_COLUMNS}
    told = {name: value for name, value in content.items() if value is not None}
    return {
        name: told.get(name, "" if str(column.dtype).startswith("str") else math.nan)
        for name, column in columns.items()
    }


def check_table(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with the table's columns in order, checked. Raises pandera's SchemaError."""
    columns = TABLES[name]
    if frame.empty:  # a study without claims has no verdict, one without a source no source
        frame = pd.DataFrame({column: pd.Series(dtype=str(kind.dtype)) for column, kind in columns.items()})
    schema = pa.DataFrameSchema(columns, strict=True, ordered=True)
    return schema.validate(frame[list(columns)])


def write_table(path: str | Path, name: str, frame: pd.DataFrame, origin: Origin) -> None:
    """Check a table and write it; texts are dictionary-encoded, and each column carries its description."""
    import pyarrow

    checked = check_table(name, frame)
    arrays: Mapping[str, pyarrow.Array] = {
        column: pyarrow.array(checked[column], from_pandas=False) for column in TABLES[name]
    }
    encoded = {
        column: array.cast(pyarrow.string()).dictionary_encode()
        if pd.api.types.is_string_dtype(checked[column])
        else array
        for column, array in arrays.items()
    }
    descriptions = {column: str(settings.description) for column, settings in TABLES[name].items()}
    write_columns(path, encoded, origin, descriptions)
