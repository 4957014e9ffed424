"""What config may say of a claim: which arms are compared, how they become one number a seed, test and margin."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from whypretrain.config.strict import Name, Number, Positive, Strict, several

Test = Literal["superiority", "non-inferiority", "equivalence", "trend"]
Over = Literal["mean", "each", "slope", "peak", "peak-position", "reach", "correlation"]
Measure = Annotated[
    str,
    StringConstraints(
        pattern=r"^(top1_test|loss_train|loss_test|loss_gap|movement|curve_area|steps_to_95|rate_width|cosine_mean|cka"
        r"|parts\.(all|main|residual)\.(source\.start|target\.start|target\.final))$"
    ),
]


class Choice(Strict):
    """The arms on one side of a difference.

    `N` in span and mode stands for each number of layers in `layers` (`above-N`, `freeze-N`, `top-N`), `E` in epoch
    for each checkpoint (`E`, `E+anneal`), as far as the study has such arms. A quarter of the layers, rounded up, are
    the `first`, as many the `last`, `middle` are those between, and with `none-first` N is 0 as well: nothing is
    treated or frozen. Several recipes are compared like several numbers of layers: with `over: peak` the side is the
    one that validation chooses.
    """

    architecture: Name | None = Field(None, description="The claim's where left out; another is held against it.")
    source: Literal["source", "own", "via", "middle", "none"] = Field(
        "source",
        description="The setting's source, the one that has learnt the target itself, the one that has gone via "
        "another task, that task's own source, or the untrained one.",
    )
    epoch: str | float | None = Field(None, description="A checkpoint; the study's where left out.")
    treatment: str = "intact"
    span: str = "all"
    mode: str = "finetune"
    recipe: Annotated[tuple[Name, ...], BeforeValidator(several)] = Field(
        (), description="The study's recipe where left out, or its scratch_recipe for the source none."
    )
    learning_rate: Positive | None = Field(None, description="The one that validation selects where left out.")
    layers: Literal["first", "middle", "last", "all", "none-first"] = Field(
        "all", description="What N stands for; with cka, layers."
    )
    measure: Measure | None = Field(None, description="The claim's where left out.")
    pair: Name | None = Field(None, description="With cka: the pair of networks, named in `pairs`.")

    @model_validator(mode="after")
    def _checkpoints(self) -> "Choice":
        if has_epochs(self) and self.epoch not in ("E", "E+anneal"):
            raise ValueError(f"epoch is {self.epoch!r}; allowed: a checkpoint, E, E+anneal")
        if has_epochs(self) and (has_layers(self) or self.source == "none"):
            raise ValueError("E goes neither with N nor with the source none, which has one checkpoint")
        if has_recipes(self) and (has_epochs(self) or has_layers(self)):
            raise ValueError("several recipes go neither with E nor with N; name one")
        if self.layers == "none-first" and not has_layers(self):
            raise ValueError("none-first is of N, and there is none; allowed: first, middle, last, all")
        return self


class Margin(Strict):
    """A margin fixed before the runs: a number, or a share of the gain intact minus scratch."""

    value: Number | None = None
    share_of_gain: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> "Margin":
        if (self.value is None) == (self.share_of_gain is None):
            raise ValueError("give one of value and share_of_gain")
        return self


class Difference(Strict):
    """A number a seed: the sum of the first sides minus the sum of the second ones.

    `over` makes one number of a side along N or E, but `each`, which makes a component of each place at which the two
    sides are different arms: the mean, the slope (for E on the binary logarithm of the epoch),
    the value or the place at its peak (chosen on validation), the place where it first reaches nine tenths of
    its last value, or its rank correlation with the source's own accuracy.
    """

    of: Annotated[tuple[Choice, ...], BeforeValidator(several), Field(min_length=1)]
    minus: Annotated[tuple[Choice, ...], BeforeValidator(several)] = ()
    over: Over = "mean"
    test: Test | None = Field(None, description="The claim's where left out.")
    margin: Margin | None = Field(None, description="The claim's where left out.")


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
    settings: tuple[Name, ...] = Field((), description="Each gets a verdict of its own.")
    measure: Measure
    test: Test
    components: tuple[Difference, ...] = Field(
        min_length=1, description="All must be supported (intersection-union), unless `any` is true."
    )
    any: bool = Field(
        False, description="One supported component will do (union-intersection); contradicted when all are."
    )
    margin: Margin
    quadrant: str = Field(
        "", description="Of a rule for one kind of target, in words: drawn over the mode map, with the verdict."
    )
    control: Difference | None = Field(
        None,
        description="What there was to lose, for non-inferiority and equivalence; intact minus scratch where left out.",
    )
    interaction: Interaction | None = None

    @model_validator(mode="after")
    def _measurable(self) -> "Claim":
        if not self.settings and not self.interaction:
            raise ValueError("give settings, an interaction of two, or both")
        if self.interaction and (self.any or self.components[0].over == "each"):
            raise ValueError("an interaction is of one difference; `any` and over each leave open of which")
        margins = [self.margin, *(part.margin for part in self.components if part.margin)]
        margins += [self.interaction.margin] if self.interaction else []
        if self.measure != "top1_test" and any(margin.share_of_gain is not None for margin in margins):
            raise ValueError(f"share_of_gain is of accuracies; with {self.measure} give the margin's value")
        for part in (*self.components, *([self.control] if self.control else [])):
            self._check_part(part)
        return self

    def _check_part(self, part: Difference) -> None:
        for side in (*part.of, *part.minus):
            measure = side.measure or self.measure
            if (self.measure == "cosine_mean") != (measure == "cosine_mean"):
                raise ValueError("cosine_mean is compared at each rate and layer: all sides have it, or none")
            if measure == "cosine_mean" and runs_along(side):
                raise ValueError("N and E average accuracies; with cosine_mean name one span and one epoch")
            if side.learning_rate is not None and measure in ("cosine_mean", "cka", "rate_width"):
                raise ValueError(f"{measure} is not of one learning rate; leave learning_rate out")
            if (measure == "cka") != (side.pair is not None):
                raise ValueError("the measure cka is of a pair, and a pair has no other measure; name both or neither")
            if part.over == "peak-position" and measure != "top1_test":
                raise ValueError("the place of a peak is that of validation top-1, and so of top1_test alone")
            if part.over not in ("peak", "mean") and has_recipes(side):
                raise ValueError("several recipes are no curve; allowed: over mean, or over peak for the chosen one")
            if part.over == "peak" and measure.startswith("parts."):
                raise ValueError("a peak is chosen by validation top-1: of a column of runs as top1_test, not of parts")
        if self.measure == "cosine_mean" and (len(part.of), len(part.minus)) != (1, 1):
            raise ValueError("with cosine_mean a component is one choice minus another")
        # a single arm has a slope of zero, and may be held against a peak or each; the others are of curves alone
        along = [runs_along(side) for side in (*part.of, *part.minus)]
        if part.over != "mean" and not (any(along) if part.over in ("slope", "peak", "each") else all(along)):
            raise ValueError(f"over {part.over} needs N or E: without them there is one arm, and nothing to go along")


def runs_along(choice: Choice) -> bool:
    """Whether a choice stands for several arms."""
    return choice.pair is None and (has_layers(choice) or has_epochs(choice) or has_recipes(choice))


def has_recipes(choice: Choice) -> bool:
    """Whether a choice stands for several recipes."""
    return len(choice.recipe) > 1


def has_layers(choice: Choice) -> bool:
    """Whether a choice stands for several numbers of layers."""
    return "N" in choice.span or "N" in choice.mode


def has_epochs(choice: Choice) -> bool:
    """Whether a choice stands for several checkpoints."""
    return isinstance(choice.epoch, str) and choice.epoch.startswith("E")
