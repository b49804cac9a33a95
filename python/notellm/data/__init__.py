"""Notes, logs of what people did with them, and their split into training and test."""

from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.data.split import select_pairs, split_by_group, union_groups, within_groups

__all__ = ["Interactions", "Notes", "select_pairs", "split_by_group", "union_groups", "within_groups"]
