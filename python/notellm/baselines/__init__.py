"""The baselines to beat, ranked under the same rules as NoteLLM's embeddings: words, and a bidirectional encoder."""

from notellm.baselines.sentence_bert import SentenceBert
from notellm.baselines.words import Bm25Index, TfidfIndex, WordIndex

__all__ = ["Bm25Index", "SentenceBert", "TfidfIndex", "WordIndex"]
