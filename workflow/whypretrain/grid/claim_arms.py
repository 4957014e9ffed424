"""Which arms a claim is about: what its choices stand for in a study, and that the study has them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from whypretrain.config.claims import Choice, Claim, Difference, Interaction, has_epochs, has_layers, has_recipes
from whypretrain.config.models import ConfigError, Setting
from whypretrain.grid.coordinates import NO_RECIPE, UNTRAINED, Arm, split_epoch, write_number
from whypretrain.grid.grid import Grid, known
from whypretrain.training import moding

AGAINST_SCRATCH = ("steps_to_95", "rate_width")  # measured by what scratch reaches, or how it varies
INTACT = Choice.model_validate({})
SCRATCH = Choice.model_validate({"source": "none"})


def group_of(which: str, depth: int) -> tuple[int, ...]:
    """Return the layers that are `first` or `last` (a quarter, rounded up), `middle` (between them), or `all`.

    `none-first` are the first after 0, which is no layer.
    """
    quarter = -(-depth // 4)
    first, last = {
        "first": (1, quarter),
        "none-first": (0, quarter),
        "middle": (quarter + 1, depth - quarter),
        "last": (depth - quarter + 1, depth),
        "all": (1, depth),
    }[which]
    return tuple(range(first, last + 1))


def choices_of(part: Difference) -> tuple[Choice, ...]:
    """Return the choices of both sides of a difference."""
    return (*part.of, *part.minus)


def _along(choice: Choice) -> str:
    """Return what the arms of a choice go along; nothing for a single arm."""
    if has_epochs(choice):
        return "epochs"
    if has_recipes(choice):
        return "recipes"
    return f"{choice.layers} layers" if has_layers(choice) else ""


@dataclass(frozen=True)
class ClaimArms:
    """The arms of one claim in one study."""

    grid: Grid
    study: str
    name: str

    @cached_property
    def claim(self) -> Claim:
        """The claim as config has it."""
        return self.grid.config.claims[self.name]

    @cached_property
    def _own(self) -> frozenset[Arm]:
        return frozenset(self.grid.arms_of(self.study))

    def architecture(self, choice: Choice) -> str:
        """Return the architecture of a choice, the claim's where it names none."""
        return choice.architecture or self.claim.architecture

    def measure(self, choice: Choice) -> str:
        """Return what is measured of a choice, the claim's measure where it names none."""
        return choice.measure or self.claim.measure

    def pairs(self, setting: str) -> tuple[Setting, ...]:
        """Return the pairs of source and target that a setting averages."""
        return self.grid.config.studies[self.study].settings[setting]

    def _arm(
        self, setting: Setting, choice: Choice, epoch: str | float, layers: int = 0, recipe: str | None = None
    ) -> Arm:
        study = self.grid.config.studies[self.study]
        source = UNTRAINED if choice.source == "none" else getattr(setting, choice.source)
        if source is None:
            raise ConfigError(
                f"claims.{self.name}: the source '{choice.source}' is asked for, but a setting of it names no "
                f"`{choice.source}`"
            )
        recipe = recipe or (choice.recipe[0] if choice.recipe else None)
        return self.grid.arm(
            f"claims.{self.name}",
            architecture=self.architecture(choice),
            source=source,
            epoch=epoch,
            treatment=choice.treatment,
            span=choice.span.replace("N", str(layers)),
            target=setting.target,
            mode=choice.mode.replace("N", str(layers)),
            recipe=recipe or (study.scratch_recipe if choice.source == "none" else study.recipe),
        )

    def side(self, setting: Setting, choice: Choice) -> dict[float, Arm]:
        """Return the arms that a choice stands for, by the place that `over` goes along.

        That is N, or the number of the epoch, or the place in a list of recipes, or 0 for a single arm. Of N and
        epochs, those that the study has.
        """
        epoch = self.grid.config.studies[self.study].epoch if choice.epoch is None else choice.epoch
        if has_layers(choice):
            group = group_of(choice.layers, self.grid.depth(self.architecture(choice)))
            found = {float(n): self._arm(setting, choice, epoch, n) for n in group}
        elif has_epochs(choice):
            source = setting.source if choice.source == "source" else setting.own or setting.source
            settings = self.grid.config.pretraining[self.grid.config.sources[source].pretraining]
            ending = str(choice.epoch).removeprefix("E")
            names = [write_number(epoch) + (ending if epoch else "") for epoch in settings.checkpoints]
            found = {split_epoch(name)[0]: self._arm(setting, choice, name) for name in names}
        elif has_recipes(choice):
            arms = (self._arm(setting, choice, epoch, recipe=recipe) for recipe in choice.recipe)
            return {float(place): arm for place, arm in enumerate(arms)}
        else:
            return {0.0: self._arm(setting, choice, epoch)}
        return {place: arm for place, arm in found.items() if arm in self._own}

    def sides(self, setting: Setting, part: Difference) -> dict[Choice, dict[float, Arm]]:
        """Return the arms of every choice of a difference that isn't of a pair.

        Choices that go along the same N or E are compared at the places that all of them have, unless each is
        the one that validation chooses.
        """
        found = {choice: self.side(setting, choice) for choice in choices_of(part) if choice.pair is None}
        if part.over == "peak":
            return found
        common: dict[str, set[float]] = {}
        for choice, arms in found.items():
            if along := _along(choice):
                common[along] = common.get(along, set(arms)) & set(arms)
        return {
            choice: {place: arm for place, arm in arms.items() if place in common.get(_along(choice), arms)}
            for choice, arms in found.items()
        }

    def at_common(self, part: Difference) -> bool:
        """Whether a component compares its arms at common learning rates: losses and cosines, which the rate shifts.

        Recipes that validation chooses from are held against others as a whole, each at its own rate.
        """
        choices = choices_of(part)
        asked = any(self.measure(choice).startswith(("cosine_mean", "loss_")) for choice in choices)
        return asked and part.over != "peak" and all(choice.learning_rate is None for choice in choices)

    def _sides_of(
        self, names: Iterable[str], parts: Iterable[Difference]
    ) -> Iterator[tuple[Setting, Difference, Choice, dict[float, Arm]]]:
        """Yield what the claim reads in some settings: pair, component, choice, and the arms that this stands for."""
        for setting in (pair for name in names for pair in self.pairs(name)):
            for part in parts:
                for choice, arms in self.sides(setting, part).items():
                    yield setting, part, choice, arms

    def at_common_rates(self) -> Iterator[set[Arm]]:
        """Yield the arms that are compared at common rates: each is trained at the rates selected for all of them."""
        for setting in (pair for name in self.names for pair in self.pairs(name)):
            for part in filter(self.at_common, self.claim.components):
                yield {arm for arms in self.sides(setting, part).values() for arm in arms.values()}
            if self.claim.measure == "cosine_mean":
                yield set(self.controls(setting))

    def at_named_rates(self) -> Iterator[tuple[Arm, float]]:
        """Yield the arms that the claim reads at a rate which it names."""
        for _, _, choice, arms in self._sides_of(self.names, self._parts):
            if choice.learning_rate is not None:
                yield from ((arm, choice.learning_rate) for arm in arms.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that the claim is about, those of its interaction too."""
        interaction = self.claim.interaction
        return tuple(dict.fromkeys((*self.claim.settings, *(interaction.settings if interaction else ()))))

    @property
    def _parts(self) -> list[Difference]:
        return [*self.claim.components, *([self.claim.control] if self.claim.control else [])]

    def components(self, setting: str) -> tuple[Difference, ...]:
        """Return the claim's components in a setting, those `over: each` place by place.

        Left out are places where both sides are the same arm, as the last checkpoint minus itself, and those that a
        pair of source and target lacks.
        """
        found: list[Difference] = []
        for part in self.claim.components:
            found += [part] if part.over != "each" else self._each(self.pairs(setting), part)
        return tuple(found)

    def _each(self, settings: tuple[Setting, ...], part: Difference) -> list[Difference]:
        along = next(filter(_along, choices_of(part)))
        places = set.intersection(*(set(self.sides(setting, part)[along]) for setting in settings))
        found = []
        for place in sorted(places):

            def at(choice: Choice, place: float = place) -> Choice:
                if has_layers(choice):
                    here = {name: getattr(choice, name).replace("N", f"{place:g}") for name in ("span", "mode")}
                else:
                    here = {"epoch": self.side(settings[0], choice)[place].epoch} if has_epochs(choice) else {}
                return choice.model_copy(update=here)

            of, minus = (tuple(map(at, choices)) for choices in (part.of, part.minus))
            arms = [[self.side(setting, choice) for setting in settings for choice in side] for side in (of, minus)]
            if arms[0] != arms[1]:
                found.append(part.model_copy(update={"of": of, "minus": minus, "over": "mean"}))
        return found

    def controls(self, setting: Setting) -> tuple[Arm, Arm]:
        """Return intact and scratch, between which there is something to lose."""
        return self.side(setting, INTACT)[0.0], self.side(setting, SCRATCH)[0.0]

    def scratch(self, setting: Setting, choice: Choice) -> Arm:
        """Return scratch in the architecture of a choice."""
        return self.side(setting, SCRATCH.model_copy(update={"architecture": choice.architecture}))[0.0]

    def needed(self, settings: Sequence[str]) -> set[Arm]:
        """Return all arms that decide the claim in some settings, its margin and its guards included."""
        found: set[Arm] = set()
        for setting, _, choice, arms in self._sides_of(settings, self._parts):
            found |= set(arms.values())
            if self.measure(choice) in AGAINST_SCRATCH:
                found.add(self.scratch(setting, choice))
        if self._rests_on_gain:
            found |= {arm for name in settings for pair in self.pairs(name) for arm in self.controls(pair)}
        return found

    @cached_property
    def all_needed(self) -> tuple[Arm, ...]:
        """All arms that decide the claim in any of its settings, in order."""
        return tuple(sorted(self.needed(self.names)))

    def reads(self, what: str) -> bool:
        """Whether the claim reads a table of measures (`parts`), or `sources`."""
        if what == "sources":
            return any(part.over == "correlation" for part in self._parts)
        return any(self.measure(choice).split(".")[0] == what for part in self._parts for choice in choices_of(part))

    @property
    def pairs_read(self) -> set[tuple[str, str]]:
        """Architecture and name of the pairs of networks that the claim compares."""
        choices = (choice for part in self.claim.components for choice in choices_of(part))
        return {(self.architecture(choice), choice.pair) for choice in choices if choice.pair is not None}

    @property
    def _rests_on_gain(self) -> bool:
        interaction = self.claim.interaction
        of: list[Difference | Interaction] = [*self.claim.components, *([interaction] if interaction else [])]
        tests = {each.test or self.claim.test for each in of}
        sensitivity = self.claim.control is None and tests & {"non-inferiority", "equivalence"}
        return bool(sensitivity) or any((each.margin or self.claim.margin).share_of_gain is not None for each in of)

    def check(self) -> None:
        """Raise ConfigError where the study lacks a setting, an arm, a pair or a read-out that the claim needs."""
        study, key = self.grid.config.studies[self.study], f"claims.{self.name}"
        known(f"{key}.architecture", self.claim.architecture, self.grid.config.architectures)
        for name in sorted(self.names):
            known(f"{key}.settings", name, study.settings)
            if any(map(self.at_common, self.claim.components)) and len(self.pairs(name)) > 1:
                raise ConfigError(f"{key}: losses and cosines are compared at rates of one pair; '{name}' has several")
            for choice in (choice for part in self._parts for choice in choices_of(part)):
                known(f"{key}: architecture", self.architecture(choice), self.grid.config.architectures)
                if choice.pair is not None:
                    self._check_pair(choice.pair, choice)
            for setting, part, choice, arms in self._sides_of([name], self._parts):
                self._check_side(setting, part, choice, arms)
            if self._rests_on_gain:
                for arm in (arm for setting in self.pairs(name) for arm in self.controls(setting)):
                    self._check_arm(arm)

    def _check_arm(self, arm: Arm) -> None:
        if self.study not in self.grid.arms.get(arm, ()):
            raise ConfigError(
                f"studies.{self.study}.grid: the claim '{self.name}' needs the arm {arm.source}, epoch {arm.epoch}, "
                f"{arm.treatment}.{arm.span} on {arm.target}, mode '{arm.mode}', recipe '{arm.recipe}' of "
                f"'{arm.architecture}'; add it or drop the claim"
            )

    def _check_side(self, setting: Setting, part: Difference, choice: Choice, arms: dict[float, Arm]) -> None:
        key, measure = f"claims.{self.name}", self.measure(choice)
        least = {"slope": 2, "each": 2, "correlation": 3}.get(part.over, 1)
        doublings = part.over == "slope" and has_epochs(choice)  # of which epoch 0 has none
        places = [place for place in arms if place > 0 or not doublings]
        if _along(choice) and len(places) < least:
            raise ConfigError(
                f"studies.{self.study}.grid: the claim '{self.name}' needs {least} arms or more of {choice.mode}, "
                f"{choice.treatment}.{choice.span}, epoch {choice.epoch} on {setting.target} "
                f"(layers: {choice.layers}, recipe: {choice.recipe or 'of the study'}); it has {len(places)}"
            )
        if measure in AGAINST_SCRATCH:
            self._check_arm(self.scratch(setting, choice))
        for arm in arms.values():
            self._check_measure(measure, arm)
            self._check_arm(arm)
            if choice.learning_rate is not None and choice.learning_rate not in self.rates(arm):
                raise ConfigError(
                    f"{key}: {choice.learning_rate} is no learning rate of '{arm.recipe}'; allowed: "
                    f"{', '.join(map(str, self.rates(arm))) or 'none'}"
                )
            if ".source." in measure and arm.source == UNTRAINED:
                raise ConfigError(f"{key}: '{measure}' is of a source, and an untrained arm has none")
            if measure.startswith("parts.") and arm not in self.grid.measures.get("parts", ()):
                raise ConfigError(
                    f"studies.{self.study}.grid: the claim '{self.name}' reads '{measure}'; add `parts` to the "
                    f"measures of {arm.source}, epoch {arm.epoch}, {arm.mode} on {arm.target}"
                )

    def rates(self, arm: Arm) -> tuple[float, ...]:
        """Return the learning rates of an arm; none of one that doesn't learn by steps."""
        return () if arm.recipe == NO_RECIPE else self.grid.config.recipes[arm.recipe].learning_rates

    def _check_measure(self, measure: str, arm: Arm) -> None:
        key = f"claims.{self.name}"
        if measure in ("cosine_mean", "movement", "curve_area", "steps_to_95") and not moding.by_steps(arm.mode):
            raise ConfigError(f"{key}: '{arm.mode}' moves no kernel and takes no step for {measure}")
        if measure == "rate_width" and len(self.rates(arm)) < 3:
            raise ConfigError(f"{key}: a range of rates needs a grid of 3 or more; '{arm.recipe}' has fewer")
        if measure.startswith("loss_") and moding.parse(arm.mode).name == "svm":
            raise ConfigError(f"{key}: '{arm.mode}' has no cross-entropy for {measure}")

    def _check_pair(self, pair: str, choice: Choice) -> None:
        architecture = self.architecture(choice)
        known(f"claims.{self.name}: pair", pair, self.grid.config.studies[self.study].pairs)
        if (pair, architecture) not in self.grid.compared:
            raise ConfigError(f"pairs.{pair}.architectures: the claim '{self.name}' is on '{architecture}'")
        if not group_of(choice.layers, depth := self.grid.depth(architecture)):
            raise ConfigError(
                f"claims.{self.name}: of {depth} layers none is {choice.layers}; allowed: first, last, all"
            )
