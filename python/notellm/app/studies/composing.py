"""Configurations of a study's cells: Hydra, which is slow, composes each choice of groups once.

Hydra's own order is the same: first the files of the groups, then single keys, and interpolations when they are read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from notellm.app.config import Config, compose_tree, config_keys, groups, resolve
from notellm.app.overrides import parsed_overrides


class Composer:
    """Composes configurations that have much in common, as `notellm.app.config.compose` does, which is slower."""

    def __init__(self) -> None:
        self._trees: dict[tuple[str, ...], Any] = {}
        self._keys = frozenset(config_keys())

    def compose(self, overrides: Sequence[str]) -> Config:
        """Composes one.

        Args:
            overrides: In Hydra's grammar.

        Raises:
            ConfigError: As in `notellm.app.config.compose`.
        """
        from omegaconf import OmegaConf

        changes = parsed_overrides(overrides, groups())
        is_value = [self._sets_a_key(change) for change in changes]
        first = tuple(text for text, later in zip(overrides, is_value, strict=True) if not later)
        if first not in self._trees:
            self._trees[first] = compose_tree(first)
        tree = copy.deepcopy(self._trees[first])
        for change, later in zip(changes, is_value, strict=True):
            if later:
                OmegaConf.update(tree, change.key_or_group, change.value(), merge=True)
        return resolve(tree)

    def _sets_a_key(self, change: Any) -> bool:
        return change.key_or_group in self._keys and not (change.is_add() or change.is_delete())
