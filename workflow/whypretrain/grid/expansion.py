"""From config to the grid: every block of every study expanded to arms, every pair to its two networks."""

import itertools
from collections.abc import Iterable

from whypretrain import registry
from whypretrain.config.models import Config, ConfigError, Study
from whypretrain.config.strict import mistakes_at
from whypretrain.grid.checks import check_names_shared, check_parts, check_recipe_in_mode, check_sources, check_study
from whypretrain.grid.coordinates import NO_RECIPE, UNTRAINED, Arm
from whypretrain.grid.grid import START, Grid, Side, known
from whypretrain.grid.spans import in_layers
from whypretrain.measures.cka import FEWEST
from whypretrain.training import moding


def _expand_block(grid: Grid, study: Study, number: int, key: str) -> Iterable[Arm]:
    block = study.grid[number]
    config = grid.config
    for name in block.architectures:
        known(f"{key}.architectures", name, config.architectures)
        grid.card(name)
    allowed = {"sources": [UNTRAINED, *config.sources], "recipes": config.recipes}
    for kind, names_known in {**allowed, "measures": [START, *registry.names("measures")]}.items():
        for name in getattr(block, kind):
            known(f"{key}.{kind}", name, names_known)
    for target in block.targets:
        grid.target(target, f"{key}.targets")
        for architecture in block.architectures:
            grid.refuse_size(architecture, study, target, key)
        for source in block.sources:
            grid.refuse_overlap(source, target, key)
    if not block.layers and (lacking := [text for text in (*block.spans, *block.modes) if "N" in text]):
        raise ConfigError(f"{key}.layers: '{lacking[0]}' needs to be told what N is; give a list of numbers of layers")
    names = ("architecture", "source", "epoch", "treatment", "span", "target", "mode")
    lists = [getattr(block, f"{name}s") for name in names]
    for *coordinates, layers in itertools.product(*lists, block.layers or (0,)):
        architecture, source, _, _, span, target, mode = coordinates
        mode, span = (text.replace("N", str(layers)) for text in (mode, span))
        if block.unit == "block":
            with mistakes_at(key, f" ('{architecture}')"):
                mode, span = (in_layers(text, grid.card(architecture)) for text in (mode, span))
        grid.canonical_mode(architecture, mode, f"{key}.modes")
        recipes = block.recipes if moding.by_steps(mode) else (NO_RECIPE,)
        if not recipes:
            raise ConfigError(f"{key}.recipes: the mode '{mode}' needs one; allowed: {', '.join(config.recipes)}")
        for recipe in recipes:
            if recipe != NO_RECIPE:
                check_recipe_in_mode(grid, recipe, mode, f"{key}.recipes")
            grid.refuse_colours(architecture, [target.rpartition(".")[0], *grid.tasks_of(source)], key)
            told = dict(zip(names, coordinates, strict=True)) | {"span": span, "mode": mode}
            yield grid.arm(key, **told, recipe=recipe)


def _check_images(grid: Grid, task: str, key: str) -> None:
    """Refuse to compare activations on fewer images than CKA needs."""
    if (images := grid.test_images(task)) < FEWEST:
        raise ConfigError(f"{key}: '{task}' has {images} test images; CKA needs {FEWEST} or more")


def _add_pair(grid: Grid, name: str, key: str) -> None:
    """Resolve a pair's networks; those of trained ones must be arms of some study."""
    pair = grid.config.pairs[name]
    images = grid.target(pair.images, f"{key}.images")
    if images.task not in {arm.task for arm in grid.arms}:
        raise ConfigError(f"{key}.images: no study learns '{images.task}'; allowed: a target of some study")
    _check_images(grid, images.task, f"{key}.images")
    for architecture in pair.architectures:
        known(f"{key}.architectures", architecture, grid.config.architectures)
        sides = []
        for place, network in (("first", pair.first), ("second", pair.second)):
            here = f"{key}.{place}"
            known(f"{here}.source", network.source, [UNTRAINED, *grid.config.sources])
            if network.target is None:
                sides.append(Side(grid.start(here, architecture, network), trained=False))
                continue
            arm = grid.arm(here, **network.model_dump(), architecture=architecture)
            if moding.parse(arm.mode).layer:
                raise ConfigError(f"{here}.mode: '{arm.mode}' ends at a layer; two networks are compared whole")
            if arm not in grid.arms:
                raise ConfigError(f"{here}: no study has the arm {arm}; add it to a grid or drop the pair")
            if grid.class_count(arm.task) != grid.class_count(images.task) or arm.task != images.task:
                raise ConfigError(f"{key}.images: is '{pair.images}', but the {place} network learns '{arm.target}'")
            sides.append(Side(arm, trained=True))
        grid.compared[name, architecture] = (sides[0], sides[1])


def expand(config: Config) -> Grid:
    """Return the grid of a config. Raises ConfigError for any name, span or number that can't be."""
    grid = Grid(config)
    check_parts(grid)
    for name, study in config.studies.items():
        for number, block in enumerate(study.grid):
            for arm in _expand_block(grid, study, number, f"studies.{name}.grid.{number}"):
                if name not in grid.arms.get(arm, ()):
                    grid.arms[arm] = (*grid.arms.get(arm, ()), name)
                if "similarity" in block.measures:
                    _check_images(grid, arm.task, f"studies.{name}.grid.{number}.measures")
                for measure in block.measures:
                    grid.measures.setdefault(measure, set()).add(arm)
        for figure in study.figures:
            known(f"studies.{name}.figures", figure, registry.names("figures"))
    for name, study in config.studies.items():
        for pair in study.pairs:
            known(f"studies.{name}.pairs", pair, config.pairs)
            _add_pair(grid, pair, f"pairs.{pair}")
    for name in config.studies:
        check_study(grid, name)
    check_sources(grid)
    check_names_shared(grid)
    if grid.pilots.arms and not config.pilot_seeds:
        recipe = min(grid.pilots.arms).recipe
        count = len(config.recipes[recipe].learning_rates)
        raise ConfigError(
            f"pilot_blocks: is empty, but recipes.{recipe}.learning_rate_blocks has {count} rates to select from; give "
            "seeds that select, none of them in seed_blocks, as [[100, 101, 102]], or name one rate"
        )
    return grid
