"""The baselines, ranked under the same rules as NoteLLM: by words, by behaviour, and with a bidirectional encoder."""

from notellm.baselines.cooccurrence import CooccurrenceIndex
from notellm.baselines.lexical import Bm25Index, TfidfIndex
from notellm.baselines.sentence_bert import SentenceBert
from notellm.baselines.sparse import SparseIndex

__all__ = ["Bm25Index", "CooccurrenceIndex", "SentenceBert", "SparseIndex", "TfidfIndex"]
