"""Prompts: templates are configuration, notes are tokenised once, batches are assembled in the core.

A prompt is a sequence of pieces: fixed text, slots for the fields of a note, and the compression token. Every
fixed piece and every slot value is tokenised separately and the ids are concatenated, so nothing depends on
tokenizer merges across a boundary.
"""

from notellm._core.prompts import NotePrompt, PackedBatch, PairSampler, PlannedBatch, TokenizedNotes
from notellm.prompts.config import PromptConfig, load_prompt, prompt_names
from notellm.prompts.explain import ExplainedPiece, ExplainedToken, PromptExplanation, explain_prompt
from notellm.prompts.prompt import Prompt
from notellm.prompts.tokenizing import NoteTexts

__all__ = [
    "ExplainedPiece",
    "ExplainedToken",
    "NotePrompt",
    "NoteTexts",
    "PackedBatch",
    "PairSampler",
    "PlannedBatch",
    "Prompt",
    "PromptConfig",
    "PromptExplanation",
    "TokenizedNotes",
    "explain_prompt",
    "load_prompt",
    "prompt_names",
]
