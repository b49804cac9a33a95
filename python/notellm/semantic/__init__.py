"""Semantic ids: notes as short lists of codes, the first of which stand for the coarsest likeness.

In the order of the work: ``kmeans`` (centroids), ``residual`` (a codebook for what each level leaves, and codes),
``quality`` (collisions, use of codes, what is lost, categories), ``layouts`` (files, also of other recommenders).
"""

from notellm.semantic.layouts import check_layout, write_ids
from notellm.semantic.quality import describe
from notellm.semantic.residual import Codebooks, fit_codebooks, last_codes

__all__ = ["Codebooks", "check_layout", "describe", "fit_codebooks", "last_codes", "write_ids"]
