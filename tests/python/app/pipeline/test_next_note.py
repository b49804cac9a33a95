"""User-to-item retrieval of a run, against dense scores, and on the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from notellm import DataError
from notellm.app.cli import main
from notellm.app.config import compose
from notellm.app.pipeline.data import Dataset, Queries
from notellm.app.pipeline.next_note import evaluate_next, select_users
from notellm.data import Interactions
from notellm.data.interactions import CLICK, VIEW
from notellm.evaluation import Bootstrap
from notellm.evaluation.next_note import history_weights, pool_histories
from samples import make_notes

NOTES = 40


def make(held_out=False):
    """A log over 40 notes, the even ones in the pool; the second half of its users may be held out."""
    draw = np.random.default_rng(1)
    notes = make_notes(NOTES, seed=1)
    rows = np.arange(600) // 12
    log = Interactions(
        rows,
        draw.integers(0, NOTES, 600),
        [f"u{i}" for i in range(50)],
        notes.ids,
        times=draw.integers(0, 99, 600),
    )
    known, others = (log.of_users(np.arange(50) < 25), log.of_users(np.arange(50) >= 25))
    everything = np.ones(NOTES, np.bool_)
    parts = (known, others) if held_out else (log, None)
    dataset = Dataset(notes, parts[0], np.arange(NOTES), everything, everything, parts[1])
    pool = np.arange(0, NOTES, 2)
    return dataset, Queries(pool, np.array([0]), np.array([1]))


def configured(*changes):
    return compose(["evaluation.systems=[bm25,trained]", "evaluation.ks=[1,5]", "data.queries=0", *changes])


@pytest.mark.parametrize("history_notes", [50, 2])
@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("split", ["last", "50"])
def test_ranks_are_those_of_dense_scores(held_out, split, history_notes):
    """Among all notes that the user did not have, however many of those that the user had are the query."""
    dataset, queries = make(held_out)
    changes = ["evaluation.history_decay=0.8", f"evaluation.history_notes={history_notes}"]
    config = configured(f"evaluation.next_notes='{split}'", *changes)
    pool = dataset.notes.take(queries.pool)
    vectors = torch.nn.functional.normalize(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)))
    found = evaluate_next(config, dataset, queries, pool, {"trained": vectors}, Bootstrap(samples=50))
    users = select_users(config, dataset, queries)
    assert (users.known.users < 25).any() or not held_out
    assert found.queries == len(users.targets) > 10
    seen = np.bincount(users.known.notes, minlength=NOTES)[queries.pool]
    together = np.zeros((20, 20))
    for user in range(50):
        had = set(users.known.notes[users.known.users == user].tolist())
        own = [place for place, note in enumerate(queries.pool.tolist()) if note in had]
        for a in own:
            for b in own:
                together[a, b] += (a != b) / len(had)
    hits = {"trained": [], "popularity": [], "cooccurrence": []}
    log_scores = []
    for history, target, had in zip(users.histories, users.targets, users.had, strict=True):
        own = history[history >= 0]
        assert own.tolist() == had[had >= 0].tolist()[-history_notes:]
        weights = 0.8 ** np.arange(len(own) - 1, -1, -1)
        scores = {
            "trained": (weights[:, None] * vectors.numpy()[own]).sum(axis=0) @ vectors.numpy().T,
            "popularity": seen.astype(float),
            "cooccurrence": weights @ together[own],
        }
        for key, of in scores.items():
            others = np.setdiff1d(np.arange(20), [*had, target])
            above, tied = (
                (of[others] > of[target] + 1e-9).sum(),
                (np.abs(of[others] - of[target]) <= 1e-9).sum(),
            )
            hits[key].append(np.mean([above + place < 5 for place in range(tied + 1)]))
        above = (scores["trained"][others] > scores["trained"][target]).sum()
        log_scores.append(1 - np.log(above + 1) / np.log(len(others) + 1))
    assert found.system("trained").log_score.value == pytest.approx(np.mean(log_scores))
    for key, expected in hits.items():
        assert found.system(key).recall[5].value == pytest.approx(np.mean(expected)), key
    assert [system.key for system in found.systems] == [
        "random",
        "popularity",
        "cooccurrence",
        "bm25",
        "trained",
    ]


@pytest.mark.parametrize("split", ["last", "50"])
def test_users_who_are_not_held_out_count_as_the_others_do(split):
    """Once for each note of the pool that they clicked on, and never from the moment on at which the log is split."""
    dataset, queries = make(held_out=True)
    log = dataset.interactions
    clicks = np.arange(len(log)) % 3 > 0
    dataset = replace(dataset, interactions=replace(log, events=np.where(clicks, CLICK, VIEW)))
    known = select_users(configured(f"evaluation.next_notes='{split}'"), dataset, queries).known
    found = [event for event in zip(known.users.tolist(), known.notes.tolist(), strict=True) if event[0] < 25]
    counts = clicks & np.isin(log.notes, queries.pool) & (split == "last" or log.times < 50)
    expected = {*zip(log.users[counts].tolist(), log.notes[counts].tolist(), strict=True)}
    assert sorted(found) == sorted(expected)
    assert 10 < len(expected) < counts.sum()


def test_few_users_are_drawn_by_the_split_s_seed():
    dataset, queries = make()
    few, again, other = (
        select_users(configured("evaluation.next_notes=last", *changes), dataset, queries)
        for changes in (
            ["data.queries=7"],
            ["data.queries=7", "seed=3"],
            ["data.queries=7", "data.split_seed=1"],
        )
    )
    assert len(few.targets) == 7
    assert (few.histories == again.histories).all()
    assert few.targets.tolist() != other.targets.tolist()


def test_what_cannot_be_split_is_refused():
    dataset, queries = make()
    with pytest.raises(
        DataError, match=r"users must have a note of the pool before and after \(1000\), but none has"
    ):
        select_users(configured("evaluation.next_notes='1000'"), dataset, queries)
    with pytest.raises(
        ValueError, match="evaluation: next_notes: a moment must be a date or a number, but is 'soon'"
    ):
        configured("evaluation.next_notes=soon")


def test_histories_are_pooled_by_their_weights():
    vectors = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = pool_histories(vectors, [[-1, 3], [8, 0]], decay=0.25)
    assert torch.allclose(found, torch.stack([vectors[3], 0.2 * vectors[8] + 0.8 * vectors[0]]))
    with pytest.raises(IndexError, match=r"must be in \[0, 9\), but hold 9"):
        pool_histories(vectors, [[9]])
    with pytest.raises(ValueError, match=r"each with a note, but are \(1, 1\) with an empty one"):
        history_weights([[-1]])
    with pytest.raises(ValueError, match="decay must be above 0 and at most 1, but is 0"):
        history_weights([[1]], decay=0)


def test_a_run_measures_what_came_next(folder, overrides, capsys):
    changes = [
        text for text in overrides if not text.startswith(("data.ordered", "evaluation.gen", "data.quer"))
    ]
    changes += ["data.ordered=true", "evaluation.generation_notes=0", "evaluation.systems=[tfidf,trained]"]
    path = folder / "users"
    assert main(["train", "--run", str(path), *changes]) == 0
    assert main(["evaluate", "--run", str(path), "evaluation.next_notes=last"]) == 0
    kept = json.loads((path / "evaluation.json").read_text())["next_notes"]
    assert [system["key"] for system in kept["systems"]] == [
        "random",
        "popularity",
        "cooccurrence",
        "tfidf",
        "trained",
    ]
    assert kept["queries"] > 10
    assert (
        f"User to item, what came next: {kept['queries']} users, {kept['pool']} notes"
        in capsys.readouterr().out
    )
    assert main(["report", "--run", str(path)]) == 0
    assert "what came next" in (path / "report.html").read_text()
