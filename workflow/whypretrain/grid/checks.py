"""What config can't say of itself: names that refer to nothing, tasks without images, claims without their arms."""

import math

from whypretrain import registry
from whypretrain.config.models import ConfigError, Regulariser, Setting, Study
from whypretrain.config.strict import mistakes_at
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import UNTRAINED
from whypretrain.grid.grid import Grid, known
from whypretrain.registry import constants
from whypretrain.training import moding
from whypretrain.training.schedules import checkpoint_steps, layer_ends

FEWEST_CLASSES = 2  # of a task
MOST_CHANNELS, MOST_WEIGHTS, MOST_IMAGES = 2**16, 10**9, 10**7  # what is more fits no memory


def check_parts(grid: Grid) -> None:
    """Check architectures, datasets, tasks and sources, each by itself."""
    config = grid.config
    for name in config.architectures:
        shapes = [weight.shape for layer in grid.card(name).layers for weight in layer.weights]
        widest, weights = max(shape[0] for shape in shapes), sum(map(math.prod, shapes))
        if widest > MOST_CHANNELS or weights > MOST_WEIGHTS:
            raise ConfigError(
                f"architectures.{name}: has a layer of {widest:,} channels, and {weights:,} weights; "
                f"allowed: up to {MOST_CHANNELS:,} and {MOST_WEIGHTS:,}"
            )
    for name, counts in grid.counts.items():
        if (images := sum(counts.values())) > MOST_IMAGES:
            raise ConfigError(f"datasets.{name}: has {images:,} images; allowed: up to {MOST_IMAGES:,}")
    for name, task in config.tasks.items():
        known(f"tasks.{name}.dataset", task.dataset, config.datasets)
        for label in task.classes or ():
            known(f"tasks.{name}.classes", label, grid.counts[task.dataset])
        if task.classes and len(set(task.classes)) != len(task.classes):
            raise ConfigError(f"tasks.{name}.classes: {list(task.classes)} name a class twice")
        if task.class_half and len(grid.classes(name)) < 2 * FEWEST_CLASSES:
            raise ConfigError(
                f"tasks.{name}.class_half: half of {len(grid.classes(name))} classes is fewer than {FEWEST_CLASSES}; "
                f"allowed: a task of {2 * FEWEST_CLASSES} classes or more"
            )
        for label, (training, validating) in grid.images_per_class(name).items():
            if training == 0 or validating == 0:
                raise ConfigError(
                    f"tasks.{name}: class {label} has no images left for training or validation; allowed: a class of "
                    f"more images, or lower shares that validate and test in datasets.{task.dataset}"
                )
    for name, recipe in config.recipes.items():
        if recipe.regulariser:
            _check_regulariser(recipe.regulariser, f"recipes.{name}.regulariser")
    for name, source in config.sources.items():
        if name == UNTRAINED:
            raise ConfigError(f"sources.{name}: the name stands for the untrained network; choose another")
        known(f"sources.{name}.pretraining", source.pretraining, config.pretraining)
        settings = config.pretraining[source.pretraining]
        if source.task is None and not settings.weights:
            raise ConfigError(f"sources.{name}.task: is missing; only published weights need none")
        for own in grid.tasks_of(name):
            known(f"sources.{name}.task", own, config.tasks)
        _check_chain(grid, name)
        if settings.weights and source.start:
            raise ConfigError(f"sources.{name}.start: its weights are published ones; leave the start out")
        sizes = [images for own in grid.tasks_of(name) for images in grid.training_images(own)]
        for images in sizes if not settings.weights else ():
            with mistakes_at(f"pretraining.{source.pretraining}.checkpoints", f" with source '{name}'"):
                checkpoint_steps(settings.checkpoints, images, settings.batch_size)
    if config.bank:
        for name in config.bank.sources:
            known("bank.sources", name, config.sources)
            grid.epoch(name, config.bank.epoch, "bank.epoch")


def _check_regulariser(regulariser: Regulariser, key: str) -> None:
    """Check that there is such a regulariser, and that it has the strength."""
    known(f"{key}.name", regulariser.name, registry.names("regularisers"))
    described = constants("regularisers", regulariser.name)
    how, most = described.get("LIMIT", ("up to", math.inf))
    if regulariser.strength > most or (how == "below" and regulariser.strength == most):
        raise ConfigError(
            f"{key}.strength: is {regulariser.strength}; for {regulariser.name} it is {described['STRENGTH']}, "
            f"allowed: 0 or more, {how} {most}"
        )


def check_recipe_in_mode(grid: Grid, recipe: str, mode: str, key: str) -> None:
    """Refuse to change images step by step where the layers that would see them are run once, on the images."""
    regulariser = grid.config.recipes[recipe].regulariser
    if regulariser and moding.parse(mode).frozen and constants("regularisers", regulariser.name).get("OF_IMAGES"):
        raise ConfigError(
            f"{key}: '{recipe}' changes the images in each step ({regulariser.name}), but '{mode}' runs its frozen "
            f"layers once, on the images as they are; allowed with it: recipes with another regulariser or none"
        )


def _check_chain(grid: Grid, name: str) -> None:
    """Refuse a source whose start is unknown, or that comes back to itself."""
    sources, chain = grid.config.sources, [name]
    while (start := sources[chain[-1]].start) is not None:
        known(f"sources.{chain[-1]}.start", start, sources)
        if start in chain:
            circle = [*chain[chain.index(start) :], start]
            raise ConfigError(
                f"sources.{start}.start: {' -> '.join(map(repr, circle))} goes in a circle; "
                "allowed: a chain that ends in a source without a start"
            )
        chain.append(start)


def check_sources(grid: Grid) -> None:
    """Refuse sources whose layers learn one after another in fewer steps than they are."""
    for architecture, name in grid.trained_sources:
        settings, key = grid.pretraining(name), f"pretraining.{grid.config.sources[name].pretraining}"
        if settings.objective != "reconstruction":
            continue
        if grid.config.architectures[architecture].network != "convnet":
            raise ConfigError(
                f"{key}.objective: layer after layer only plain convnets learn to reconstruct, not '{architecture}'"
            )
        for images in (images for task in grid.tasks_of(name) for images in grid.training_images(task)):
            with mistakes_at(f"{key}.checkpoints", f", with source '{name}' and architecture '{architecture}'"):
                steps = checkpoint_steps(settings.checkpoints, images, settings.batch_size)
                layer_ends(max(steps), grid.depth(architecture))


def _check_setting(grid: Grid, study: Study, key: str, name: str, setting: Setting) -> None:
    config = grid.config
    known(f"{key}.source", setting.source, config.sources)
    grid.epoch(setting.source, study.epoch, f"{key.partition('.settings.')[0]}.epoch")
    target = grid.target(setting.target, f"{key}.target")
    grid.refuse_overlap(setting.source, setting.target, key)
    relation = grid.relation(setting.source, target.task)
    if name in ("different", "same-images", "same-distribution") and name != relation:
        raise ConfigError(f"{key}: source and target are '{relation}'; name it so or change it")
    for role in ("via", "middle"):
        if (name := getattr(setting, role)) is not None:
            known(f"{key}.{role}", name, config.sources)
            grid.refuse_overlap(name, setting.target, f"{key}.{role}")
    if setting.via is not None and config.sources[setting.via].start != setting.source:
        raise ConfigError(
            f"{key}.via: '{setting.via}' doesn't start from '{setting.source}'; allowed: a source with that `start`"
        )
    if setting.via and setting.middle and config.sources[setting.via].task != config.sources[setting.middle].task:
        raise ConfigError(f"{key}.middle: '{setting.middle}' and '{setting.via}' learn different tasks; name one task")
    if setting.own is None:
        return
    known(f"{key}.own", setting.own, config.sources)
    own, other = config.sources[setting.own], config.sources[setting.source]
    if own.task != target.task:
        raise ConfigError(f"{key}.own: '{setting.own}' learns '{own.task}'; allowed: a source of '{target.task}'")
    if target.shots is not None:
        raise ConfigError(
            f"{key}.target: is '{setting.target}', but '{setting.own}' has seen all images of '{target.task}'; "
            f"allowed: {target.task}.full"
        )
    if own.pretraining != other.pretraining:
        raise ConfigError(
            f"{key}.own: '{setting.own}' is pre-trained by '{own.pretraining}' and '{setting.source}' by "
            f"'{other.pretraining}'; both need the same recipe"
        )


def check_study(grid: Grid, name: str) -> None:
    """Check that a study's settings fit together, and that it has all arms that its claims need."""
    config, key = grid.config, f"studies.{name}"
    study = config.studies[name]
    known(f"{key}.recipe", study.recipe, config.recipes)
    known(f"{key}.scratch_recipe", study.scratch_recipe, config.recipes)
    for setting_name, settings in study.settings.items():
        for setting in settings:
            _check_setting(grid, study, f"{key}.settings.{setting_name}", setting_name, setting)
    for claim in study.claims:
        known(f"{key}.claims", claim, config.claims)
        ClaimArms(grid, name, claim).check()


def check_names_shared(grid: Grid) -> None:
    """Refuse one name for two things: a dataset in two sizes, a source or run under two normalisations."""
    config = grid.config
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    order = list(config.studies)
    for name, source, task in sorted(grid.uses(), key=lambda use: (order.index(use[0]), use)):
        study = config.studies[name]
        constants = f"normalisation {study.normalisation.mean}, {study.normalisation.standard_deviation}"
        things = [("task", task, constants), *([("source", source, constants)] if source != UNTRAINED else [])]
        for dataset in (config.tasks[each].dataset for each in (task, *grid.tasks_of(source))):
            things.append(("dataset", dataset, f"size {config.datasets[dataset].size or study.size}"))
        for kind, thing, value in things:
            other, earlier = seen.setdefault((kind, thing), (name, value))
            if earlier != value:
                raise ConfigError(
                    f"studies.{name}: {kind} '{thing}' is used with {value}, but with {earlier} in '{other}'; "
                    "give one of them another name"
                )
