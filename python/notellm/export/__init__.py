"""Trained models in the forms that other programs load: sentence-transformers' folders, and GGUF files.

`NoteLLM.save_pretrained` writes what transformers loads.
"""

from notellm.export.gguf_file import export_gguf
from notellm.export.sentence_transformers_folder import export_sentence_transformers
from notellm.export.text_form import TextForm, note_texts, text_form

__all__ = ["TextForm", "export_gguf", "export_sentence_transformers", "note_texts", "text_form"]
