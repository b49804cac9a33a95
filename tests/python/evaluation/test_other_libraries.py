"""Metrics equal those of ranx and RecTools on random data, where these are installed."""

import numpy as np
import pytest
import torch

from notellm.evaluation import evaluate_ranks, query_values
from notellm.metrics import coverage, novelty, popularity
from notellm.retrieval import neighbours, target_ranks

QUERIES, NOTES, KS = 40, 60, [1, 5, 20]
libraries_warn = pytest.mark.filterwarnings("ignore")  # of other libraries' own doings


@pytest.fixture(scope="module")
def ranking():
    """Scores, one to four targets of each query, and who has which note."""
    random = np.random.default_rng(3)
    scores = torch.from_numpy(random.permuted(np.tile(np.arange(NOTES), (QUERIES, 1)), axis=1)).double()
    targets = np.stack([random.permutation(NOTES)[:4] for _ in range(QUERIES)])
    targets[np.arange(4)[None, :] > random.integers(0, 4, QUERIES)[:, None]] = -1
    events = random.random((25, NOTES)) < random.random(NOTES) ** 2
    return scores, torch.from_numpy(targets), events


def counted(ranking):
    scores, targets, _ = ranking
    return target_ranks(scores, torch.eye(NOTES, dtype=torch.float64), targets)


@libraries_warn
@pytest.mark.slow  # ranx compiles each metric when it is first called
def test_ranx(ranking):
    ranx = pytest.importorskip("ranx", reason="ranx is not installed")
    scores, targets, _ = ranking
    qrels = ranx.Qrels(
        {f"q{q}": {f"n{t}": 1 for t in own if t >= 0} for q, own in enumerate(targets.tolist())}
    )
    run = ranx.Run(
        {f"q{q}": {f"n{n}": own[n] for n in range(NOTES)} for q, own in enumerate(scores.tolist())}
    )
    names = ("recall", "hit_rate", "ndcg", "map", "mrr")
    theirs = ranx.evaluate(qrels, run, [f"{name}@{k}" for name in names for k in KS] + ["mrr"])
    (row,) = evaluate_ranks(counted(ranking), KS)
    for k in KS:
        ours = (row.recall[k], row.hit_rate[k], row.ndcg[k], row.map[k])
        assert [own.value for own in ours] == pytest.approx([theirs[f"{name}@{k}"] for name in names[:4]])
    assert row.mrr.value == pytest.approx(theirs["mrr"])


def frames(pd, ranking):
    """The recommendations, the truth, and what users did before, as RecTools takes them."""
    scores, targets, events = ranking
    order = np.argsort(-scores.numpy(), axis=1)[:, : max(KS)]
    users, places = np.indices(order.shape)
    shown = pd.DataFrame({"user_id": users.ravel(), "item_id": order.ravel(), "rank": places.ravel() + 1})
    who, which = np.nonzero(targets.numpy() >= 0)
    truth = pd.DataFrame({"user_id": who, "item_id": targets.numpy()[who, which]})
    fan, note = np.nonzero(events)
    return shown, truth, pd.DataFrame({"user_id": fan, "item_id": note})


@libraries_warn
def test_rectools(ranking):
    theirs = pytest.importorskip("rectools.metrics", reason="RecTools is not installed")
    shown, truth, before = frames(pytest.importorskip("pandas"), ranking)
    events = ranking[2]
    lists = neighbours(ranking[0], torch.eye(NOTES, dtype=torch.float64), max(KS)).indices.numpy()
    own = query_values(counted(ranking), KS)
    for column, k in enumerate(KS):
        assert own.recall[:, column].mean() == pytest.approx(theirs.Recall(k).calc(shown, truth))
        assert own.hit[:, column].mean() == pytest.approx(theirs.HitRate(k).calc(shown, truth))
        assert own.ap[:, column].mean() == pytest.approx(theirs.MAP(k).calc(shown, truth))
        ndcg = theirs.NDCG(k, divide_by_achievable=True).calc(shown, truth)
        assert own.ndcg[:, column].mean() == pytest.approx(ndcg)
        covered = theirs.CatalogCoverage(k, normalize=True).calc(shown, np.arange(NOTES))
        assert coverage(lists[:, :k], NOTES) == pytest.approx(covered)
        surprise = theirs.MeanInvUserFreq(k).calc(shown, before)
        users = len(np.unique(before["user_id"]))
        assert novelty(lists[:, :k], events.sum(axis=0), users).mean() == pytest.approx(surprise)
        liked = theirs.AvgRecPopularity(k).calc(shown, before)
        assert popularity(lists[:, :k], events.sum(axis=0)).mean() == pytest.approx(liked)
    assert own.reciprocal[own.hit[:, -1] > 0].sum() / QUERIES == pytest.approx(
        theirs.MRR(max(KS)).calc(shown, truth)
    )
