"""What Hydra composes of the packaged groups, a user's own folder and overrides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from notellm._core.options import OptionGroup
from notellm.app.hydra_errors import of_hydra, of_yaml
from notellm.app.overrides import one_line, parsed_overrides
from notellm.errors import ConfigError
from notellm.options import check_yaml_file


def composed_tree(overrides: Sequence[str], groups: Sequence[OptionGroup], studies: Path) -> Any:
    """The tree of a configuration, with interpolations; defaults must have been registered.

    Args:
        overrides: In Hydra's grammar.
        groups: The description of every key.
        studies: A folder with further groups and options; it need not exist.

    Raises:
        ConfigError: One line: a wrong override with the nearest known name, an unknown option of a group with those
            there are, or a file that is no configuration.
    """
    # Imported here: Hydra takes longer to load than all modules of the application.
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    parsed_overrides(overrides, groups)
    own = _own_files(overrides, studies)
    for path in own:  # Hydra reads without bounds
        check_yaml_file(path)
    search = [f"hydra.searchpath=[file://{studies.resolve()}]"] if studies.is_dir() else []
    try:
        with initialize_config_module("notellm.conf", version_base="1.3"):
            tree = hydra_compose("config", overrides=[*overrides, *search])
    except MissingConfigException as error:
        options = ", ".join(error.options or [])
        hint = f"; there are: {options}" if options else ""
        raise ConfigError(f"{error.missing_cfg_file}: no such configuration{hint}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(of_hydra(error)) from error
    except YAMLError as error:  # although our reader has taken it
        raise ConfigError(of_yaml(error)) from error
    except (ValueError, OSError) as error:  # of a header or a tree that Hydra does not take, or a bare number
        where = ", ".join(map(str, own)) or "configuration"
        raise ConfigError(f"{where}: must be a configuration for Hydra, but: {one_line(error)}") from error
    return tree


def _own_files(overrides: Sequence[str], studies: Path) -> list[Path]:
    """The files of the user's folder that overrides select."""
    chosen = [text.lstrip("+").partition("=") for text in overrides]
    paths = [studies / group / f"{name}.yaml" for group, _, name in chosen if group and name]
    return [path for path in paths if os.path.isfile(path)]
