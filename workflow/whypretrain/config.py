"""What config may hold: pydantic models, the one source of defaults, descriptions and schema.

Read by the Snakefile and by the collectors alone.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from whypretrain.architectures import convnet

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Positive = Annotated[float, Field(gt=0)]
Number = Annotated[float, Field(ge=0)]


class ConfigError(Exception):
    """A mistake in config: one message with the key, the value and what is allowed."""


class Strict(BaseModel):
    """A part of config: no unknown keys, defaults checked like values, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Dataset(Strict):
    """Images and labels, prepared once."""

    module: str = Field(description="Module in workflow/whypretrain/datasets, as mnist5k, digits or glyphs.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="The module's own parameters.")


class Task(Strict):
    """A dataset or a subset of its classes and images."""

    dataset: Name = Field(description="Name of a dataset in `datasets`.")
    classes: tuple[str, ...] | None = Field(None, min_length=2, description="Its classes; all where left out.")
    images: Literal["all", "a", "b"] = Field(
        "all", description="All training images, or one of two disjoint halves of them."
    )
    validation_shots: int | None = Field(
        None, ge=1, description="Validation images per class of a target; min(shots, 20) where left out."
    )


class Normalisation(Strict):
    """Channel constants, the same for sources, targets and scratch."""

    mean: float = Field(0.2, description="Subtracted from images scaled to 0…1.")
    standard_deviation: Positive = Field(0.35, description="Divided by.")


class Pretraining(Strict):
    """Hyper-parameters of source training: warm-up, constant rate, annealed branches."""

    checkpoints: tuple[Number, ...] = Field(min_length=2, description="Epochs kept, from 0 up; the last ends training.")
    learning_rate: Positive = Field(0.1, description="Peak learning rate.")
    batch_size: int = Field(64, ge=2)
    weight_decay: Number = Field(5e-4, description="Not on biases and norms.")
    warmup_epochs: Number = Field(0.5, description="Linear warm-up.")
    anneal_share: Positive = Field(0.2, description="Length of a branch to zero, as a share of the epochs before it.")

    @model_validator(mode="after")
    def _ordered(self) -> "Pretraining":
        if self.checkpoints[0] != 0 or list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError(f"checkpoints are {list(self.checkpoints)}; allowed: increasing epochs that begin with 0")
        return self


class Source(Strict):
    """One way of pre-training; with an architecture and a seed it is one network."""

    task: Name = Field(description="Name of a task in `tasks`.")
    pretraining: Name = Field(description="Name of an entry of `pretraining`.")


class Recipe(Strict):
    """Hyper-parameters of target training."""

    learning_rate_blocks: tuple[Annotated[tuple[Positive, ...], Field(min_length=1)], ...] = Field(
        min_length=1, description="The grid; a block is what one job trains. Append blocks, never edit one."
    )
    epochs: int = Field(0, ge=0, description="Passes over the training images; min_steps is the least in any case.")
    min_steps: int = Field(200, ge=1, description="Least number of updates.")
    batch_size: int = Field(64, ge=2, description="Or all training images where they are fewer.")
    weight_decay: Number = Field(5e-4, description="Not on biases and norms.")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="Share of the steps with a linearly rising rate.")
    epoch_steps: int = Field(
        20, ge=1, description="A read-out epoch is the fewest whole passes that make this many steps."
    )

    @model_validator(mode="after")
    def _a_grid(self) -> "Recipe":
        if len(set(self.learning_rates)) != len(self.learning_rates):
            raise ValueError("learning_rate_blocks name a rate twice")
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
    targets: tuple[str, ...] = Field(min_length=1, description="`task.shots`, shots a number per class or `full`.")
    modes: tuple[str, ...] = Field(("finetune",), min_length=1)
    recipes: tuple[Name, ...] = Field(min_length=1)


class Setting(Strict):
    """A source and a target between which claims are decided."""

    source: Name
    target: str = Field(description="`task.shots`.")


class Study(Strict):
    """A named slice of the grid, with its claims and figures."""

    title: str
    question: str = Field(description="What the study asks, in one or two sentences.")
    size: int = Field(ge=8, le=256, description="Height and width of all its images.")
    normalisation: Normalisation = Field(default_factory=lambda: Normalisation.model_validate({}))
    grid: tuple[Block, ...] = Field(min_length=1)
    settings: dict[Name, Setting] = Field(default_factory=dict, description="Named pairs of source and target.")
    epoch: str | float = Field("last+anneal", description="The checkpoint that claims and figures are about.")
    recipe: Name = Field(description="The recipe that claims are decided on.")
    scratch_recipe: Name = Field(description="The recipe of training from scratch.")
    claims: tuple[str, ...] = Field((), description="Names in `claims`.")
    figures: tuple[str, ...] = Field((), description="Modules in workflow/whypretrain/figures.")


class Choice(Strict):
    """An arm of a claim: a treatment of a span; `few` is every top-K of the study with K ≤ ⌈depth/4⌉."""

    treatment: str
    span: str = "all"


class Difference(Strict):
    """A paired difference: the first arm minus the second, seed by seed."""

    of: Choice
    minus: Choice


class Margin(Strict):
    """A margin fixed before the runs: a number, or a share of the gain intact minus scratch."""

    value: Number | None = None
    share_of_gain: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> "Margin":
        if (self.value is None) == (self.share_of_gain is None):
            raise ValueError("give one of value and share_of_gain")
        return self


Test = Literal["superiority", "non-inferiority", "equivalence"]


class Interaction(Strict):
    """The first component of a claim in one setting minus the same in another."""

    statement: str
    settings: tuple[Name, Name]
    test: Test
    margin: Margin


class Claim(Strict):
    """A statement from a paper, as contrasts, a test and a margin."""

    paper: str = Field(description="The family over which Holm's correction goes.")
    statement: str
    architecture: Name
    settings: tuple[Name, ...] = Field(min_length=1, description="Each gets a verdict of its own.")
    measure: Literal["top1_test", "cosine_mean"]
    test: Test
    components: tuple[Difference, ...] = Field(min_length=1, description="All must be supported (intersection-union).")
    margin: Margin
    interaction: Interaction | None = None

    @model_validator(mode="after")
    def _measurable(self) -> "Claim":
        if self.measure == "cosine_mean":
            margins = [self.margin, *([self.interaction.margin] if self.interaction else [])]
            if any(margin.share_of_gain is not None for margin in margins):
                raise ValueError("share_of_gain is of accuracies; with cosine_mean give the margin's value")
            if any("few" in (d.of.span, d.minus.span) for d in self.components):
                raise ValueError("the span 'few' averages accuracies; with cosine_mean name one span")
        return self


class Config(Strict):
    """All that a run of the pipeline is told."""

    include: tuple[str, ...] = Field((), description="Files with more of these keys, relative to the project's root.")
    results: str = Field("results", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$", description="Folder of all results.")
    seed_blocks: tuple[Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)], ...] = Field(
        min_length=1, description="Seeds; a block is what one job trains. Append blocks, never edit one."
    )
    threads: int = Field(1, ge=1, description="Threads of a job that uses torch.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    keep_weights: bool = Field(
        True,
        description="Keep each run's final weights. With false they are temporary, and any read-out of them that "
        "is new or changed trains those runs again.",
    )
    architectures: dict[Name, convnet.Parameters] = Field(min_length=1)
    datasets: dict[Name, Dataset] = Field(min_length=1)
    tasks: dict[Name, Task] = Field(min_length=1)
    pretraining: dict[Name, Pretraining] = Field(default_factory=dict)
    sources: dict[Name, Source] = Field(default_factory=dict)
    recipes: dict[Name, Recipe] = Field(min_length=1)
    claims: dict[str, Claim] = Field(default_factory=dict)
    studies: dict[Name, Study] = Field(min_length=1)

    @model_validator(mode="after")
    def _seeds_once(self) -> "Config":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seed_blocks name a seed twice")
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, block by block."""
        return tuple(seed for block in self.seed_blocks for seed in block)


class _UniqueLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice."""


def _mapping(loader: _UniqueLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # what is merged may be overridden
            continue
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise ConfigError(f"{node.start_mark.name}: the key '{key}' stands twice; names must differ")
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file safely. Raises ConfigError where it isn't a mapping of names."""
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, Loader=_UniqueLoader)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _with_includes(raw: dict[str, Any], root: Path) -> dict[str, Any]:
    merged = dict(raw)
    include = raw.get("include", [])
    if not isinstance(include, list | tuple) or not all(isinstance(name, str) for name in include):
        raise ConfigError(f"include: is {include!r}; allowed: a list of file names")
    for name in include:
        for key, value in read_yaml(root / name).items():
            mine = merged.get(key)
            if mine is None:
                merged[key] = value
            elif isinstance(mine, dict) and isinstance(value, dict):
                if twice := [entry for entry in value if entry in mine and mine[entry] != value[entry]]:
                    raise ConfigError(f"{key}.{twice[0]}: {name} gives this name to something else; rename one")
                merged[key] = {**value, **mine}
            else:
                raise ConfigError(f"{key}: stands in {name} and in the config that includes it; keep one")
    return merged


def _allowed_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Config
    for part in location[:-1]:
        if isinstance(part, int) or not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        field = model.model_fields.get(part)
        if field is None:
            continue
        found = [a for a in _nested(field.annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = found[0] if found else None
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _nested(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation] + [inner for argument in arguments for inner in _nested(argument)]


def _message(error: ValidationError) -> str:
    # a misspelt key also makes the right one missing: tell of the misspelling
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = tuple(first["loc"])
    key = ".".join(str(part) for part in location) or "config"
    if first["type"] == "extra_forbidden":
        allowed = _allowed_keys(location)
        near = difflib.get_close_matches(str(location[-1]), allowed, 1)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        return f"{key}: no such key{hint} Allowed: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{key}: is missing and has no default"
    text = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = "" if isinstance(value, dict) else f" is {value!r}:"
    return f"{key}:{shown} {text}"


def validate(model: type[BaseModel], raw: Any, key: str) -> Any:
    """Validate a part of config that another module describes; its mistakes are named below `key`."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        inner = ".".join(str(part) for part in first["loc"])
        allowed = f" Allowed: {', '.join(model.model_fields) or 'none'}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{key}.{inner}: is {first['input']!r}: {first['msg']}.{allowed}") from None


def load(raw: dict[str, Any], root: Path) -> Config:
    """Return the checked config from what YAML gave, with its includes.

    Raises ConfigError with one message: the key, its value, and what is allowed.
    Names that refer to nothing, and what depends on depth or on images, are found by `plan.Plan`.
    """
    try:
        return Config.model_validate(_with_includes(raw, root))
    except ValidationError as error:
        raise ConfigError(_message(error)) from None


def schema() -> dict[str, Any]:
    """Return the JSON schema that stands in workflow/schemas/config.schema.json."""
    return Config.model_json_schema()
