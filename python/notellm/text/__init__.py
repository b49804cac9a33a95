"""Tokenising texts for ROUGE, BLEU, sets of hashtags, TF-IDF and BM25, in every script."""

from notellm.text.analyzers import ANALYZERS, BLEU_TOKENS, OVERLAP_TOKENS, TERMS, check_analyzer
from notellm.text.naming import bleu_cut_by, cut_by, together
from notellm.text.normal import all_normalized, folded, hashtag_key, normalized
from notellm.text.tokenizers import TOKENIZERS

__all__ = [
    "ANALYZERS",
    "BLEU_TOKENS",
    "OVERLAP_TOKENS",
    "TERMS",
    "TOKENIZERS",
    "all_normalized",
    "bleu_cut_by",
    "check_analyzer",
    "cut_by",
    "folded",
    "hashtag_key",
    "normalized",
    "together",
]
