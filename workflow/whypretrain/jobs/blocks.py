"""Blocks of seeds and learning rates are append-only: what a written block holds never changes."""

import json
from pathlib import Path
from typing import Any

from whypretrain.config.models import Config, ConfigError
from whypretrain.files.storage import write_json


def blocks_of(config: Config) -> dict[str, list[list[Any]]]:
    """Return all blocks of a config by their key."""
    blocks: dict[str, Any] = {"seed_blocks": config.seed_blocks, "pilot_blocks": config.pilot_blocks}
    recipes = sorted(config.recipes.items())
    blocks |= {f"recipes.{name}.learning_rate_blocks": recipe.learning_rate_blocks for name, recipe in recipes}
    return {key: [list(block) for block in several] for key, several in blocks.items()}


def _recorded(path: Path) -> dict[str, list[list[Any]]]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged ({error}); delete it if no block was edited since the last run") from None


def check_blocks(config: Config, path: Path) -> None:
    """Raise ConfigError where a block that was run before now holds something else."""
    recorded = _recorded(path)
    for key, blocks in blocks_of(config).items():
        for number, (before, now) in enumerate(zip(recorded.get(key, []), blocks, strict=False)):
            if before != now:
                raise ConfigError(
                    f"{key}.{number}: is {now}, but was run as {before}; a block is what one job trains, so never edit "
                    f"one, append a new one (or move {path.parent} away to start afresh)"
                )


def record_blocks(config: Config, path: Path) -> None:
    """Record the blocks that a run is about to use, beside those recorded before."""
    recorded = _recorded(path)
    for key, blocks in blocks_of(config).items():
        if len(blocks) > len(recorded.get(key, [])):
            recorded[key] = blocks
    write_json(path, recorded)
