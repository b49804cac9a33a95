"""Approximate search: FAISS indexes that are trained on a sample, filled in blocks, and kept in files.

`index` (`notellm.NeighbourIndex`), `blocks` (pools in pieces, and samples of them), `found` (what a search finds).
"""
