"""The names of metrics: in ledgers, tables and loggers (``recall@10``), and as people read them (``R@10``)."""

RANKED = {"mrr": "MRR", "log_score": "Log-rank"}
"""Metrics of the ranks of queries, without a cut-off."""

RANKED_AT = {"recall": "R", "ndcg": "NDCG", "map": "MAP"}
"""Metrics of the ranks of queries at a cut-off."""

LISTS_AT = {"coverage": "Coverage", "popularity": "Popularity"}
"""Metrics of lists of a length, as one number for all queries."""

WRITTEN = {
    "accuracy": "Acc.",
    "illusory": "Ill.",
    "closed_set": "Closed-set Acc.",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "hashtag_f1": "Hashtag F1",
}
"""Metrics of what was generated for notes, as means over the notes; fields of `WordValues`."""

CORPUS = {"bleu4": "BLEU-4"}
"""Metrics of what was generated for notes, as one number for all."""

METRICS = {**RANKED, **WRITTEN, **CORPUS}
"""All metrics without a cut-off."""

AT_CUTOFFS = {**RANKED_AT, **LISTS_AT}
"""All metrics at cut-offs."""
