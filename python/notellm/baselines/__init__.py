"""The baselines, ranked under the same rules as NoteLLM.

By chance, by popularity, by words, by behaviour, and with a bidirectional encoder.
"""

from notellm.baselines.cooccurrence import CooccurrenceIndex
from notellm.baselines.lexical import Bm25Index, TfidfIndex
from notellm.baselines.sentence_bert import SentenceBert
from notellm.baselines.sparse import SparseIndex
from notellm.baselines.trivial import PopularityIndex, RandomIndex

__all__ = [
    "Bm25Index",
    "CooccurrenceIndex",
    "PopularityIndex",
    "RandomIndex",
    "SentenceBert",
    "SparseIndex",
    "TfidfIndex",
]
