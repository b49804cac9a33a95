"""The model card of an exported model: README.md of its folder, written from the run."""

from notellm.app.card.model_card import Export, model_card

__all__ = ["Export", "model_card"]
