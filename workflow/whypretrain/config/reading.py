"""Reading YAML safely: no key twice, no code, files that include others."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from whypretrain.config.strict import ConfigError

TEMPLATE = "__use_yte__"  # Snakemake reads config through yte, which evaluates texts in a file that has this key


class _UniqueLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice."""


def _mapping(loader: _UniqueLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":  # what is merged may be overridden
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise ConfigError(f"{node.start_mark.name}: {key!r} stands as a key; allowed: names and numbers")
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
    except (
        yaml.YAMLError,
        ValueError,
        AttributeError,
    ) as error:  # the last two of a value that isn't what its tag says
        raise ConfigError(f"{path} is no YAML of plain values: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply, or holds itself") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    if TEMPLATE in content:
        raise ConfigError(
            f"{path}: has the key {TEMPLATE}, with which Snakemake runs what stands in the file as Python (if it was "
            "called with this file it has done so); take it out, and read the file before you trust it"
        )
    return content


def with_includes(raw: dict[str, Any], root: Path, within: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a config with the keys of the files that it includes, to any depth.

    `within` are the files that include it. Raises ConfigError for a name given twice, and for a file that includes
    itself.
    """
    merged = {key: value for key, value in raw.items() if key != "include"}
    include = raw.get("include", [])
    if not isinstance(include, list | tuple) or not all(isinstance(name, str) for name in include):
        raise ConfigError(f"include: is {include!r}; allowed: a list of file names")
    for name in include:
        if name in within:
            raise ConfigError(f"include: {' includes '.join([*within, name])}; leave one out")
        for key, value in with_includes(read_yaml(root / name), root, (*within, name)).items():
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
