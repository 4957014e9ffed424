"""What config can't say of itself: names that refer to nothing, tasks without images, claims without their arms."""

from whypretrain.claim_arms import ClaimArms
from whypretrain.config import ConfigError, Setting, Study
from whypretrain.coordinates import UNTRAINED
from whypretrain.grid import OVERLAP, Grid, known
from whypretrain.schedules import checkpoint_steps

FEWEST_CLASSES = 2  # of a task


def check_parts(grid: Grid) -> None:
    """Check tasks and sources, each by itself."""
    config = grid.config
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
                raise ConfigError(f"tasks.{name}: class {label} has no images left for training or validation")
    for name, source in config.sources.items():
        if name == UNTRAINED:
            raise ConfigError(f"sources.{name}: the name stands for the untrained network; choose another")
        known(f"sources.{name}.task", source.task, config.tasks)
        known(f"sources.{name}.pretraining", source.pretraining, config.pretraining)
        settings = config.pretraining[source.pretraining]
        for images in grid.training_images(source.task):
            try:
                checkpoint_steps(settings.checkpoints, images, settings.batch_size)
            except ValueError as error:
                key = f"pretraining.{source.pretraining}.checkpoints"
                raise ConfigError(f"{key}: {error} with source '{name}'") from None


def _check_setting(grid: Grid, study: Study, key: str, name: str, setting: Setting) -> None:
    config = grid.config
    known(f"{key}.source", setting.source, config.sources)
    grid.epoch(setting.source, study.epoch, f"{key.partition('.settings.')[0]}.epoch")
    target = grid.target(setting.target, f"{key}.target")
    relation = grid.relation(setting.source, target.task)
    if relation == "overlapping":
        raise ConfigError(f"{key}: source '{setting.source}' and target '{setting.target}' {OVERLAP}")
    if name in ("different", "same-images", "same-distribution") and name != relation:
        raise ConfigError(f"{key}: source and target are '{relation}'; name it so or change it")
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
    seen: dict[tuple[str, str], tuple[str, object]] = {}
    order = list(grid.config.studies)
    for name, source, task in sorted(grid.uses(), key=lambda use: (order.index(use[0]), use)):
        study = grid.config.studies[name]
        constants = f"normalisation {study.normalisation.mean}, {study.normalisation.standard_deviation}"
        things: list[tuple[tuple[str, str], object]] = [(("task", task), constants)]
        tasks = [task]
        if source != UNTRAINED:
            things.append((("source", source), constants))
            tasks.append(grid.config.sources[source].task)
        things += [(("dataset", grid.config.tasks[each].dataset), f"size {study.size}") for each in tasks]
        for (kind, thing), value in things:
            other, earlier = seen.setdefault((kind, thing), (name, value))
            if earlier != value:
                raise ConfigError(
                    f"studies.{name}: {kind} '{thing}' is used with {value}, but with {earlier} in '{other}'; "
                    "give one of them another name"
                )
