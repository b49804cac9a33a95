"""From the systems' vectors and texts to ``evaluation.json`` and the examples of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from notellm.app.config import Config
from notellm.app.pipeline import systems, written_words
from notellm.app.pipeline.data import Dataset, IntArray, Queries
from notellm.app.pipeline.metrics import log_metrics
from notellm.app.pipeline.models import MODEL, check_trained
from notellm.app.pipeline.next_note import evaluate_next
from notellm.app.pipeline.one_by_one import RANKS, WORDS, save_ranks, save_words
from notellm.app.pipeline.ranking import Found, rank_all
from notellm.app.run import RunFolder
from notellm.data.notes import Notes
from notellm.evaluation import (
    NAMES,
    Bootstrap,
    Evaluation,
    Generated,
    Generation,
    evaluate_generation,
    evaluate_lists,
    evaluate_retrieval,
    word_values,
)
from notellm.evaluation.lists import Audience
from notellm.evaluation.retrieval import cutoffs_within
from notellm.evaluation.retrieval_results import ListResult
from notellm.io.json_files import write_json
from notellm.metrics import Ties, exposure_split
from notellm.metrics.ranking import mid_ranks
from notellm.models.backbone import backbone_name
from notellm.retrieval import Ranks, neighbours
from notellm.text import check_analyzer

SHOWN_QUERIES, SHOWN_NEIGHBOURS = 5, 5
WRITERS = ("zero_shot_prompt", "trained")


def evaluate(run: RunFolder, dataset: Dataset, queries: Queries) -> Evaluation:
    """Compares the configuration's systems on the held-out pool.

    Writes ``evaluation.json``, ``ranks.safetensors``, ``words.safetensors``, ``neighbours.json``, and ``embeddings/``
    and ``generation.jsonl``, from which they are made and which later calls reuse.

    Args:
        run: A run whose model has been trained.
        dataset: The notes.
        queries: The pool and its queries.

    Returns:
        The content of ``evaluation.json``.

    Raises:
        DataError: If the trained model is among the systems, but the run has not been trained.
        NotSupportedError: If ``evaluation.analyzer`` needs a package that is not installed.
    """
    check_analyzer(run.config.evaluation.analyzer, "evaluation")
    config = run.config
    pool = dataset.notes.take(queries.pool)
    vectors = _vectors(run, pool)
    found = rank_all(run.config, dataset, queries, pool, vectors)
    ranks = {key: own.ranks for key, own in found.items()}
    split = exposure_split(
        dataset.exposure[queries.pool][queries.target],
        dataset.exposure[queries.pool],
        low=config.evaluation.low_fraction,
        high=config.evaluation.high_fraction,
    )
    places = mid_ranks(dataset.exposure[queries.pool])[queries.target]
    save_ranks(run.file(RANKS), ranks, split, places, dataset, queries)
    bootstrap = Bootstrap(samples=config.evaluation.bootstrap_samples, seed=config.seed)
    retrieval = evaluate_retrieval(
        ranks,
        queries.target,
        dataset.exposure[queries.pool],
        ks=config.evaluation.ks,
        ties=cast(Ties, config.evaluation.ties),
        low_fraction=config.evaluation.low_fraction,
        high_fraction=config.evaluation.high_fraction,
        bootstrap=bootstrap,
        names=systems.names_of(config, vectors),
        analyzers={key: own.analyzer for key, own in found.items()},
        lists=_lists(config, dataset, queries, found, bootstrap),
    )
    write_json(run.file("neighbours.json"), _examples(pool, queries, vectors, ranks))
    next_notes = None
    if config.evaluation.next_notes:
        next_notes = evaluate_next(config, dataset, queries, pool, vectors, bootstrap)
    evaluation = replace(
        retrieval,
        next_notes=next_notes,
        generation=_generation(run, dataset, queries, bootstrap),
        model=backbone_name(config.model.path, config.model.layers),
        dtype=config.dtype,
        prompt=config.prompt.name,
        truncation={"title": config.prompt.title_tokens, "content": config.prompt.content_tokens},
    )
    evaluation.write(run.file("evaluation.json"))
    log_metrics(run, evaluation)
    return evaluation


def _vectors(run: RunFolder, pool: Notes) -> dict[str, Tensor]:
    """The pool's vectors by each system that embeds, ``(N, d)`` each, and by the trained one's variants."""
    wanted = run.config.evaluation.systems
    if "trained" in wanted:
        check_trained(run.file(MODEL))
    vectors = {key: make(run, pool) for key, make in systems.EMBEDDERS.items() if key in wanted}
    if "trained" in wanted:
        vectors |= systems.trained_variants(run, pool)
    return vectors


def _generation(
    run: RunFolder, dataset: Dataset, queries: Queries, bootstrap: Bootstrap
) -> Generation | None:
    """What the systems write for some notes of the pool, if that is wanted and there is something to compare with."""
    config, pool = run.config, queries.pool
    is_wanted = config.evaluation.generation_notes and set(WRITERS) & set(config.evaluation.systems)
    chosen = pool[written_words.evaluated_notes(config, len(pool))] if is_wanted else pool[:0]
    if written_words.compared(dataset.notes.take(chosen)):
        return _evaluate_generation(run, dataset, chosen, bootstrap)
    for name in ("generation.jsonl", WORDS):
        run.file(name).unlink(missing_ok=True)
    return None


def _lists(
    config: Config, dataset: Dataset, queries: Queries, found: Mapping[str, Found], bootstrap: Bootstrap
) -> dict[str, dict[int, ListResult]]:
    """Coverage, novelty and popularity of what each system recommends."""
    log = dataset.interactions
    has = np.unique(np.stack([log.notes, log.users]), axis=1)  # each user once for a note
    users_of = np.bincount(has[0], minlength=len(dataset.notes))
    audience = Audience(dataset.exposure[queries.pool], users_of[queries.pool], len(np.unique(has[1])))
    ks = cutoffs_within(config.evaluation.ks, len(queries.pool) - 1)
    return {
        key: evaluate_lists(
            own.lists, [k for k in ks if k <= own.lists.shape[1]], audience, bootstrap=bootstrap
        )
        for key, own in found.items()
    }


def _evaluate_generation(
    run: RunFolder, dataset: Dataset, chosen: IntArray, bootstrap: Bootstrap
) -> Generation:
    notes, prompt = dataset.notes.take(chosen), run.config.prompt
    all_categories, all_hashtags = written_words.truth_of(dataset.notes, prompt)
    known = sorted({*all_categories} - {""})
    writers = [key for key in WRITERS if key in run.config.evaluation.systems]
    written = written_words.generate(run, notes, known, writers)
    by_system = {key: _generated([written[note][key] for note in notes.ids]) for key in writers}
    truth = written_words.truth_of(notes, prompt)
    analyzer, count = run.config.evaluation.analyzer, run.config.generation.hashtag_count
    values = {
        key: word_values(own, *truth, known_categories=known, tokenizer=analyzer, hashtag_count=count)[0]
        for key, own in by_system.items()
    }
    save_words(run.file(WORDS), values, chosen)
    return evaluate_generation(
        by_system,
        *truth,
        known_categories=known,
        known_hashtags={*chain.from_iterable(all_hashtags)},
        analyzer=analyzer,
        hashtag_count=count,
        bootstrap=bootstrap,
    )


def _generated(rows: Sequence[Mapping[str, Any]]) -> Generated:
    categories, hashtags = [row["category"] for row in rows], [row["hashtags"] for row in rows]
    if not all("best_category" in row for row in rows):  # no note has a category
        return Generated(categories, hashtags)
    confidence = [row["confidence"] for row in rows]
    return Generated(categories, hashtags, [row["best_category"] for row in rows], confidence)


def _examples(
    pool: Notes, queries: Queries, vectors: Mapping[str, Tensor], ranks: Mapping[str, Ranks]
) -> list[dict[str, Any]]:
    """A few queries with their nearest notes before and after training.

    They are chosen at even distances from the best to the worst of the trained model's ranks, to be representative.
    """
    shown = [key for key in WRITERS if key in vectors]
    if not shown:
        return []
    order = np.argsort(ranks[shown[-1]].greater.numpy(), kind="stable")
    rows = order[np.linspace(0, len(order) - 1, min(SHOWN_QUERIES, len(order))).astype(int)]
    found = {
        key: neighbours(
            vectors[key][torch.from_numpy(queries.source[rows])],
            vectors[key],
            SHOWN_NEIGHBOURS,
            exclude=torch.from_numpy(queries.source[rows]),
        )
        for key in shown
    }
    return [
        {
            "query": _describe(pool, int(queries.source[row])),
            "target": _describe(pool, int(queries.target[row])),
            "systems": [
                {
                    "key": key,
                    "name": NAMES[key],
                    "neighbours": [
                        _describe(pool, int(index)) | {"score": float(score)}
                        for index, score in zip(near.indices[i], near.scores[i], strict=True)
                        if index >= 0  # a small pool has fewer
                    ],
                    "target_rank": int(ranks[key].greater[row]) + 1,
                }
                for key, near in found.items()
            ],
        }
        for i, row in enumerate(rows)
    ]


def _describe(pool: Notes, position: int) -> dict[str, Any]:
    return {"id": pool.ids[position], "title": pool.titles[position], "category": pool.categories[position]}
