"""Configurations: Hydra composes them, the core reads them strictly into typed, read-only structs.

Only the command line sees configurations; the library's functions take plain arguments.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notellm._core import config as _core
from notellm._core.config import Config
from notellm.errors import ConfigError

__all__ = ["Config", "compose", "differences", "load_config", "parse_config", "to_yaml"]

STUDIES = Path("experiments/conf")
"""Folder of further groups and options, searched when it exists in the current directory."""


def load_config(path: str | Path) -> Config:
    """Reads a resolved configuration, such as the ``config.yaml`` of a run folder.

    Args:
        path: A YAML file that gives every key of the schema once.

    Returns:
        The configuration: groups and keys are attributes, ``to_dict()`` makes plain data of it.

    Raises:
        ConfigError: With file and line, for a missing, unknown or repeated key, a wrong type or a
            value out of range.
    """
    return _core.read_config(str(path))


def parse_config(text: str, *, name: str = "") -> Config:
    """Reads a resolved configuration from YAML text.

    Args:
        text: YAML that gives every key of the schema once.
        name: Stands for the file in messages; without it they name the key only.

    Returns:
        The configuration.

    Raises:
        ConfigError: As `load_config`.

    Example:
        >>> parse_config("lr: 1", name="mine.yaml")
        Traceback (most recent call last):
        notellm._core.util.ConfigError: mine.yaml:1: unknown key lr; did you mean train.lr?
    """
    return _core.parse_config(text, name)


def compose(overrides: Sequence[str] = (), *, studies: str | Path | None = None) -> Config:
    """Composes a configuration from the packaged groups and overrides in Hydra's grammar.

    Args:
        overrides: ``key=value`` changes a value (``loss.alpha=0.1``), ``group=option`` takes another
            file of a group (``train=release``, ``experiment=demo``).
        studies: A folder with further groups and options; by default `STUDIES` if it exists.

    Returns:
        The configuration, complete and checked.

    Raises:
        ConfigError: One line: a wrong override with the nearest known name, or what `parse_config`
            finds.

    Example:
        >>> compose(["loss.alpha=0.1", "train=release"]).train.pairs_per_step
        128
        >>> compose(["loss.alhpa=0.1"])
        Traceback (most recent call last):
        notellm._core.util.ConfigError: loss.alhpa=0.1: unknown key loss.alhpa; did you mean loss.alpha?
    """
    # Imported here: Hydra takes longer to load than everything else in this module.
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _check_overrides(overrides)
    studies = STUDIES if studies is None else Path(studies)
    search = [f"hydra.searchpath=[file://{studies.resolve()}]"] if studies.is_dir() else []
    try:
        with initialize_config_module("notellm.conf", version_base="1.3"):
            tree = hydra_compose("config", overrides=[*overrides, *search])
        for key in sorted(OmegaConf.missing_keys(tree)):
            raise ConfigError(f"{key} must be given; try {key}=VALUE")
        text = OmegaConf.to_yaml(tree, resolve=True)
    except MissingConfigException as error:
        options = ", ".join(error.options or [])
        hint = f"; there are: {options}" if options else ""
        raise ConfigError(f"{error.missing_cfg_file}: no such configuration{hint}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_one_line(error)) from error
    return parse_config(text)


def to_yaml(config: Config) -> str:
    """The configuration as YAML text that `parse_config` reads back unchanged.

    Example:
        >>> parse_config(to_yaml(compose())) == compose()
        True
    """
    from omegaconf import OmegaConf

    return str(OmegaConf.to_yaml(OmegaConf.create(config.to_dict())))


def differences(before: Config, after: Config) -> list[str]:
    """The keys in which two configurations differ, one text each.

    Example:
        >>> differences(compose(), compose(["loss.alpha=0.1", "seed=3"]))
        ['seed: 0, now 3', 'loss.alpha: 0.01, now 0.1']
    """
    old, new = before.to_dict(), after.to_dict()
    pairs = ((key, _value(old, key), _value(new, key)) for key in _core.config_keys())
    return [f"{key}: {a!r}, now {b!r}" for key, a, b in pairs if a != b]


def _value(tree: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


def _check_overrides(overrides: Sequence[str]) -> None:
    """Refuses wrong overrides by name; Hydra would, but in many lines and without a suggestion."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise ConfigError(f"{text}: must be KEY=VALUE, but {_one_line(error)}") from error
        key = str(override.key_or_group)
        is_ours = key not in ("experiment", "hydra") and not key.startswith("hydra.")
        if is_ours:
            try:
                _core.check_key(key.replace("/", "."))
            except ConfigError as error:
                raise ConfigError(f"{text}: {error}") from None


def _one_line(error: BaseException) -> str:
    return re.sub(r"\s*\n\s*", " ", str(error)).strip()
