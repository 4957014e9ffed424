"""Reading YAML safely: no key twice, no code, files that include others."""

from collections.abc import Hashable, Mapping, Sequence
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


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with another one over it: its keys replace those below, mapping by mapping; a null drops one."""
    found = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = over(found[key], value)
        elif value is None and key in found:
            del found[key]
        else:
            found[key] = value
    return found


def with_includes(raw: Mapping[str, Any], root: Path, within: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a config over the files that it includes, to any depth, each of them over those before it.

    `within` are the files that include it. Raises ConfigError for a file that includes itself.
    """
    found: dict[str, Any] = {}
    include = raw.get("include", [])
    if not isinstance(include, list | tuple) or not all(isinstance(name, str) for name in include):
        raise ConfigError(f"include: is {include!r}; allowed: a list of file names")
    for name in include:
        if name in within:
            raise ConfigError(f"include: {' includes '.join([*within, name])}; leave one out")
        found = over(found, with_includes(read_yaml(root / name), root, (*within, name)))
    return over(found, {key: value for key, value in raw.items() if key != "include"})


def read_all(paths: Sequence[Path]) -> dict[str, Any]:
    """Read config files, each over those before it; what any of them includes comes below them all."""
    found: dict[str, Any] = {}
    include: list[str] = []
    for content in map(read_yaml, paths):
        include += content.get("include") or []
        found = over(found, content)
    return found | ({"include": include} if include else {})
