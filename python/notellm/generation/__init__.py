"""Categories and hashtags, written by the model that embeds: decoding, closed sets, whole pools."""

from notellm.generation.categories import ScoredCategories, generate_category, score_categories
from notellm.generation.decoding import Decoding
from notellm.generation.hashtags import generate_hashtags, hashtags_in_text
from notellm.generation.pool import write_pool

__all__ = [
    "Decoding",
    "ScoredCategories",
    "generate_category",
    "generate_hashtags",
    "hashtags_in_text",
    "score_categories",
    "write_pool",
]
