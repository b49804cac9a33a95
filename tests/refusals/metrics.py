"""Metrics of counts and numbers."""

import numpy as np

from notellm import _core
from refusals import case

models, losses, retrieval = _core.models, _core.losses, _core.retrieval
prompts, metrics = _core.prompts, _core.metrics

greater, equal = np.array([0, 3]), np.array([0, 1])
counts = [np.array([0, -1]), np.array([0]), np.array([0.0, 1.0])]


@case
def hits_at():
    return (
        metrics.hits_at,
        {"greater": greater, "equal": equal, "ks": np.array([1]), "ties": metrics.Ties.mean},
        {"greater": counts, "equal": counts, "ks": [np.array([0]), np.array([-1]), np.array([1.0])]},
    )


@case
def gains_at():
    return metrics.gains_at, *hits_at()[1:]


@case
def reciprocal_ranks():
    return (
        metrics.reciprocal_ranks,
        {"greater": greater, "equal": equal, "ties": metrics.Ties.mean},
        {"greater": counts, "equal": counts},
    )


rows = np.array([metrics.bleu_counts(["a", "b"], [["a", "b"]])])
bad_rows = [rows[:, :9], rows[0], rows.astype(float), -rows]
smoothing = metrics.BleuSmoothing.exp


@case
def bleu():
    return (
        metrics.bleu,
        {"counts": rows, "order": 4, "smoothing": smoothing},
        {"counts": bad_rows, "order": [0, 5, -1]},
    )


draws = {"samples": 4, "seed": 0, "level": 0.9}
bad_draws = {"samples": [0, -1], "level": [0.0, 1.0, float("nan")]}


@case
def bootstrap_bleu():
    return (
        metrics.bootstrap_bleu,
        {"counts": rows, "order": 4, "smoothing": smoothing} | draws,
        {"counts": [*bad_rows, rows[:0]], "order": [0, 5]} | bad_draws,
    )


numbers = np.array([0.5, 1.0])
bad_numbers = [numbers[:0], np.array([0.5, np.nan]), np.array([np.inf, 1])]


@case
def bootstrap_mean():
    return (
        metrics.bootstrap_mean,
        {"values": numbers} | draws,
        {"values": bad_numbers} | bad_draws,
    )


@case
def bootstrap_difference():
    return (
        metrics.bootstrap_difference,
        {"a": numbers, "b": numbers} | draws,
        {"a": [*bad_numbers, numbers[:1]], "b": bad_numbers} | bad_draws,
    )


texts = ["a", "b"]
wrong_texts = {"generated": [["a"], [1, 2]], "truth": [["a"], None]}


@case
def category_scores():
    return metrics.category_scores, {"generated": texts, "truth": texts, "known": texts}, wrong_texts


@case
def confusion():
    return metrics.confusion, {"generated": texts, "truth": texts, "known": texts}, wrong_texts
