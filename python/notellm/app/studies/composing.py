"""Configurations of a study's cells: Hydra, which is slow, composes each choice of groups once.

Hydra's own order is the same: first the files of the groups, then single keys, and interpolations when they are read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from notellm.app.config import Config, compose_tree, config_keys, groups, resolve, study_of, without_study
from notellm.app.overrides import parsed_overrides


class Composer:
    """Composes configurations that have much in common, as `notellm.app.config` does, which is slower."""

    def __init__(self) -> None:
        self._trees: dict[tuple[str, ...], Any] = {}
        self._without_study: dict[tuple[str, ...], Any] = {}
        self._changes: dict[str, Any] = {}
        self._keys = frozenset(config_keys())

    def compose(self, overrides: Sequence[str]) -> Config:
        """Composes a configuration.

        Args:
            overrides: In Hydra's grammar.

        Raises:
            ConfigError: As in `notellm.app.config.compose`.
        """
        groups_chosen, changes = self._sorted(overrides)
        if groups_chosen not in self._without_study:  # rows and seeds would be copied for every cell
            tree = copy.deepcopy(self._tree(groups_chosen))
            self._without_study[groups_chosen] = without_study(tree)
        return resolve(_changed(self._without_study[groups_chosen], changes))

    def study(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        """Composes a ``study`` node, as `notellm.app.config.compose_study` does.

        Args:
            overrides: In Hydra's grammar.

        Raises:
            ConfigError: As in `notellm.app.config.compose`.
        """
        groups_chosen, changes = self._sorted(overrides)
        return study_of(_changed(self._tree(groups_chosen), changes))

    def _tree(self, groups_chosen: tuple[str, ...]) -> Any:
        if groups_chosen not in self._trees:
            self._trees[groups_chosen] = compose_tree(groups_chosen)
        return self._trees[groups_chosen]

    def _sorted(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Any]]:
        """The overrides that choose groups, as they are, and those that set single keys, parsed."""
        changes = [self._parsed(text) for text in overrides]
        is_value = [self._sets_a_key(change) for change in changes]
        chosen = tuple(text for text, later in zip(overrides, is_value, strict=True) if not later)
        return chosen, [change for change, later in zip(changes, is_value, strict=True) if later]

    def _parsed(self, text: str) -> Any:
        if text not in self._changes:
            (self._changes[text],) = parsed_overrides([text], groups())
        return self._changes[text]

    def _sets_a_key(self, change: Any) -> bool:
        return change.key_or_group in self._keys and not (change.is_add() or change.is_delete())


def _changed(tree: Any, changes: Sequence[Any]) -> Any:
    """A copy of a tree with some keys set."""
    from omegaconf import OmegaConf

    tree = copy.deepcopy(tree)
    for change in changes:
        OmegaConf.update(tree, change.key_or_group, change.value(), merge=True)
    return tree
