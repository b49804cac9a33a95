"""Comparisons of rows whose ranks are known: over targets, seeds and columns; and what they would need."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from notellm.app.cli import main
from notellm.app.studies import make_power, make_study, make_table
from notellm.evaluation import resample
from writing import write_study

QUERIES, POOL = 80, 500
COLUMNS = ["recall@10", "macro.recall@10", "ndcg@10", "map@10", "mrr", "log_score", "macro.log_score"]


def known_study(folder, ranks, *, with_targets=True, columns=tuple(COLUMNS)):
    """A study of rows ``a`` (base), ``b`` and ``words`` (of one run), whose cells have these ranks by row and seed."""
    rows = {"a": {}, "b": {"set": ["loss.alpha=0.1"]}, "words": {"system": "tfidf"}}
    node = {"columns": list(columns), "seeds": [0, 1, 2], "rows": rows}
    changes = ["evaluation.ks=[10]"]
    study = make_study("known", node, scale="smoke", overrides=changes, folder=folder)
    for cell in study.cells:
        greater, targets, queries = ranks(cell.row.key, cell.seed)
        cell.folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"{cell.row.system}.greater": torch.from_numpy(greater)}
        tensors |= {f"{cell.row.system}.equal": torch.zeros(len(greater), dtype=torch.int64)}
        if with_targets:
            tensors |= {"query.target": torch.from_numpy(targets)}
        save_file(tensors, cell.folder / "ranks.safetensors", metadata={"pool": str(POOL)})
        study.ledger.append(
            {"key": cell.key, "status": "done", "finished": "2026", "seconds": 1, "metrics": {}}
            | {"data": "x", "queries": queries, "commit": "c"}
        )
    return study


def drawn(row, seed):
    """Ranks of 80 queries with 20 targets; row b is three times as near."""
    draw = np.random.default_rng([seed, {"a": 0, "b": 1, "words": 2}[row]])
    of_target = np.random.default_rng(7).integers(1, 60, 20).repeat(4)
    greater = (of_target * draw.random(80) / (3 if row == "b" else 1)).astype(np.int64)
    return greater, np.arange(20).repeat(4), "q"


def values(greater, column):
    rank = greater + 1.0
    by_name = {
        "recall@10": rank <= 10,
        "ndcg@10": (rank <= 10) / np.log2(rank + 1),
        "map@10": (rank <= 10) / rank,
        "mrr": 1 / rank,
        "log_score": 1 - np.log(rank) / math.log(POOL - 1),
    }
    return 100.0 * by_name[column.removeprefix("macro.")]


def test_every_column_is_tested_over_targets_and_seeds(tmp_path):
    table = make_table(known_study(tmp_path, drawn))
    b, words = table.rows[1:]
    for column in COLUMNS:
        off = [values(drawn("b", s)[0], column) - values(drawn("a", s)[0], column) for s in range(3)]
        targets, seeds = np.tile(np.arange(20).repeat(4), 3), np.arange(3).repeat(80)
        expected = resample(np.concatenate(off), targets, seeds, macro="macro" in column, samples=2000)
        assert b.comparisons[column].difference == pytest.approx(expected.interval), column
        plain = resample(np.concatenate(off), np.arange(240), samples=10).variance.total
        assert expected.variance.total > plain  # queries of one target are not independent
        off = [values(drawn("words", 0)[0], column) - values(drawn("a", s)[0], column) for s in range(3)]
        assert words.comparisons[column].difference.value == pytest.approx(np.mean(off))
    assert b.comparisons["log_score"].verdict == "higher"
    assert table.rows[0].comparisons == {}
    assert b.scores["ndcg@10"].mean == pytest.approx(
        np.mean([values(drawn("b", s)[0], "ndcg@10") for s in range(3)])
    )
    assert "independent" not in table.note()
    assert table.note().startswith("Percent; mean")
    assert "5 % over all 14 comparisons together (Holm)" in table.note()
    lines = table.csv().splitlines()
    assert lines[0] == "row,column,mean,std,seeds,difference,low,high,p,verdict,smallest_seen,paper"
    assert next(line for line in lines if line.startswith("b,log_score")).split(",")[9] == "higher"


def test_each_seed_may_have_queries_of_its_own(tmp_path):
    def by_seed(row, seed):
        greater, targets, _ = drawn(row, seed)
        return greater[: 80 - seed], targets[: 80 - seed] + 5 * seed, f"q{seed}"

    b, words = make_table(known_study(tmp_path, by_seed)).rows[1:]
    off = np.concatenate(
        [values(by_seed("b", s)[0], "mrr") - values(by_seed("a", s)[0], "mrr") for s in range(3)]
    )
    assert b.comparisons["mrr"].difference.value == pytest.approx(off.mean())
    assert words.comparisons["mrr"] is None  # its one run has other queries than two of the seeds


def test_files_of_older_versions_have_no_targets(tmp_path):
    table = make_table(known_study(tmp_path, drawn, with_targets=False))
    assert table.rows[1].comparisons["macro.recall@10"] is None
    assert table.rows[1].comparisons["recall@10"] is not None
    assert "their queries count as independent" in table.note()


def test_equal_rows_are_equivalent(tmp_path):
    table = make_table(known_study(tmp_path, lambda row, seed: drawn("a", seed)))
    assert {found.verdict for found in table.rows[1].comparisons.values()} == {"equivalent"}
    assert " (+0.0=) |" in table.markdown()


def test_power_says_what_an_effect_needs(tmp_path):
    study = known_study(tmp_path, drawn, columns=["mrr", "log_score"])
    power = make_power(study, 4.0)
    tested = make_table(study).rows[1].comparisons
    for row in power.rows[:2]:
        assert row.row == "b"
        assert row.needed.now == pytest.approx(tested[row.column].smallest)
        assert row.needed.both[0] * row.needed.both[1] <= (row.needed.seeds or 10**9)
    text = power.markdown()
    assert "| Seeds | Queries | Targets | Seen now | Seeds | or queries | or both |" in text
    assert "| b | MRR | 3 | 80 | 20 |" in text
    with pytest.raises(ValueError, match="needed: effect must be above 0, but is 0"):
        make_power(study, 0.0)
    with pytest.raises(ValueError, match="make_power: against must be one of a, b, words, but is 'c'"):
        make_power(study, 1.0, against="c")


def test_the_verbs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_study(
        "# @package _global_\nstudy:\n  columns: [mrr]\n  rows:\n    a: {}\n    b: {set: [loss.alpha=0.1]}\n"
    )
    assert main(["table", "small", "scale=smoke", "--verdicts", "--margin", "0.25"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Equivalent: surely within \u00b10.25 points" in shown
    assert main(["table", "small", "scale=smoke", "--margin", "0"]) == 2
    assert "compare: margin must be above 0" in capsys.readouterr().err
    assert main(["power", "small", "scale=smoke"]) == 2
    assert "a and another row must have been run, on the same queries" in capsys.readouterr().err
