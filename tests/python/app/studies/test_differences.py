"""Comparisons of rows whose ranks are known: over targets, seeds and columns; and what they would need."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from notellm.app.cli import main
from notellm.app.studies import load_study, make_power, make_study, make_table, plot_exposure
from notellm.app.studies.differences import comparisons, differences, luck_note
from notellm.app.studies.runs import runs_of
from notellm.errors import DataError
from notellm.evaluation import Comparison, Trainings, Verdict, compare, resample
from notellm.evaluation.moderation import several
from notellm.evaluation.significance import smallest_seen
from notellm.metrics import Interval, bootstrap_difference
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
    targets, seeds = np.tile(np.arange(20).repeat(4), 3), np.arange(3).repeat(80)
    expected = {}
    for row, own in (("b", [0, 1, 2]), ("words", [0, 0, 0])):
        for column in COLUMNS:
            pairs = [(drawn(row, s)[0], drawn("a", seed)[0]) for seed, s in enumerate(own)]
            off = np.concatenate([values(mine, column) - values(other, column) for mine, other in pairs])
            expected[row, column] = resample(off, targets, seeds, macro="macro" in column, samples=2000)
            plain = resample(off, np.arange(240), samples=10).variance.total
            assert row == "words" or expected[row, column].variance.total > plain  # targets are shared
    a_, b_ = frozenset("abc"), frozenset("def")
    behind = [Trainings(b_ if row == "b" else frozenset(), a_) for row, _ in expected]
    compared = zip(
        expected, compare(list(expected.values()), margin=0.5, unit=100, trainings=behind), strict=True
    )
    for (row, column), found in compared:
        shown = {"b": b, "words": words}[row].comparisons[column]
        assert shown.difference == pytest.approx(found.difference), (row, column)
        assert (shown.verdict, shown.p) == (found.verdict, pytest.approx(found.p))
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


def study_of_systems(folder, against="a"):
    """Two systems trained with three seeds, each with other vectors, one that was trained once, and words."""
    rows = {
        "a": {},
        "a_int8": {"system": "trained.int8"},
        "b": {"set": ["loss.alpha=0.1"]},
        "b_first": {"set": ["loss.alpha=0.1"], "system": "trained.d2"},
        "once": {"set": ["loss.alpha=0.2"]},
        "words": {"system": "tfidf"},
    }
    changes = ["evaluation.ks=[10]", "evaluation.dims=[2]", "data.split_seed=${seed}"]
    node = {"columns": ["mrr"], "seeds": [0, 1, 2], "rows": rows, "against": against}
    study = make_study("known", node, scale="smoke", overrides=changes, folder=folder)
    for cell in (cell for cell in study.cells if cell.row.key != "once" or cell.seed == 0):
        greater = torch.from_numpy(
            np.random.default_rng([cell.seed, list(rows).index(cell.row.key)]).integers(0, 60, 80)
        )
        kept = {f"{cell.row.measured}.greater": greater, "query.target": torch.arange(80) // 4}
        kept |= {f"{cell.row.measured}.equal": torch.zeros_like(greater)}
        file = cell.folder / "ranks.safetensors"
        cell.folder.mkdir(parents=True, exist_ok=True)
        save_file(kept | (load_file(file) if file.exists() else {}), file, metadata={"pool": str(POOL)})
        study.ledger.append(
            {"key": cell.key, "status": "done", "finished": "2026", "seconds": 1, "metrics": {}}
            | {"data": f"x{cell.seed}", "queries": "q", "commit": "c"}
        )
    return study


def test_only_trained_systems_count_as_such_and_each_once(tmp_path):
    """Rows that show other vectors of a training tell no more of seeds; nor do rows without one, split or not."""
    study = study_of_systems(tmp_path)
    runs = runs_of(study, study.ledger.newest())
    for base in ("a", "words", "b_first"):
        found = differences(runs, base, study.columns)
        assert len(found) == 5
        assert several([of.trainings for of in found.values()]) == 2


def test_a_row_of_one_seed_is_as_lucky_as_the_others(tmp_path):
    study = study_of_systems(tmp_path)
    found = differences(runs_of(study, study.ledger.newest()), "a", study.columns)
    alone = found["once", "mrr"].resampled
    once = comparisons(found)["once", "mrr"].difference
    assert once.high - once.low > 1.2 * (alone.interval.high - alone.interval.low)
    table = make_table(study)
    assert table.rows[4].comparisons["mrr"].difference == once
    assert table.rows[4].status == "1 of 3 seeds"
    for shown in (table.note(), table.verdicts().grid(str).note):
        assert "one says nothing" in shown
    needs = {row.row: row.needed for row in make_power(study, 5.0).rows}
    assert needs["once"].seeds is not None
    assert needs["once"].now > smallest_seen(alone.variance, comparisons=5)
    del found["a_int8", "mrr"]  # other vectors of the same trainings, which tell nothing
    assert comparisons(found)["once", "mrr"].difference == once


@pytest.mark.parametrize("own", ["a", "once", "words"])
def test_two_rows_have_one_interval(own, tmp_path):
    """Whichever of them the others are compared with: also if that one, or the study's own, has a single seed."""
    study = study_of_systems(tmp_path, own)
    keys = [row.key for row in study.rows]
    tables = {base: make_table(study, against=base) for base in keys}
    intervals = {
        (row, base): tables[base].rows[place].comparisons["mrr"].difference
        for base in keys
        for place, row in enumerate(keys)
        if row != base
    }
    for (row, base), found in intervals.items():
        mirrored = intervals[base, row]
        assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low)), (row, base)
    paired = differences(runs_of(study, study.ledger.newest()), "once", study.columns)
    once, alone = intervals["a", "once"], paired["a", "mrr"].resampled.interval
    assert once.high - once.low > 1.2 * (alone.high - alone.low)
    assert {"one says nothing" in table.note() for table in tables.values()} == {True}
    once, b = (
        {of.row: of.needed.now for of in make_power(study, 5.0, against=key).rows} for key in ("once", "b")
    )
    assert once["b"] == pytest.approx(b["once"])


def test_tables_say_what_is_known_of_luck(tmp_path):
    """Of words there is none, and of one seed, or of one system's, nothing is known."""
    study = study_of_systems(tmp_path)
    runs = runs_of(study, study.ledger.newest())

    def said(base, *rows, seeds=3):
        own = {row: runs[row][:seeds] for row in (base, *rows)}
        return luck_note(differences(own, base, study.columns))

    assert "one says nothing" in said("a", "b", "b_first", "words")
    assert said("words", "a") == "The luck of training is in the intervals of rows with several seeds."
    for base in ("once", "a"):  # a base of one seed leaves one of each difference
        said_of = said(base, "b", "words", seeds=1 if base == "a" else 3)
        assert said_of == "With one seed each, the luck of training is in no interval."
    assert said("words") == ""


def mean_of(greater, targets, column):
    """A metric of one cell, over queries or over targets."""
    own = values(greater, column)
    if not column.startswith("macro"):
        return own.mean()
    return np.mean([own[targets == target].mean() for target in np.unique(targets)])


def test_each_seed_may_have_queries_of_its_own(tmp_path):
    def by_seed(row, seed):
        greater, targets, _ = drawn(row, seed)
        return greater[: 80 - seed], targets[: 80 - seed] + 5 * seed, f"q{seed}"

    b, words = make_table(known_study(tmp_path, by_seed)).rows[1:]
    for column in COLUMNS:  # every seed weighs the same, however many queries it has
        means = [[mean_of(*by_seed(row, seed)[:2], column) for seed in range(3)] for row in "ab"]
        assert b.comparisons[column].difference.value == pytest.approx(np.mean(means[1]) - np.mean(means[0]))
    assert words.comparisons["mrr"] is None  # its one run has other queries than two of the seeds


def with_words(folder, written):
    """The known study with accuracy of 40 notes, by row and seed; the other rows have written nothing."""
    study = known_study(folder, drawn, columns=["accuracy", "mrr"])
    for cell in study.cells:
        values = written(cell.row.key, cell.seed)
        if values is not None:
            tensors = {"trained.accuracy": torch.from_numpy(values), "note": torch.arange(40) * 3}
            save_file(tensors, cell.folder / "words.safetensors")
    return study


def test_words_are_compared_note_by_note(tmp_path):
    def written(row, seed):
        if row == "words":
            return None
        right = np.random.default_rng([seed, row == "b"]).random(40) < (0.8 if row == "b" else 0.2)
        return np.where(np.arange(40) % 4 == 0, np.nan, right)  # every fourth note has no category

    study = with_words(tmp_path, written)
    a, b, words = make_table(
        replace(study, columns=("accuracy",))
    ).rows  # alone: no other one says what seeds do
    off = [100 * (written("b", seed) - written("a", seed)) for seed in range(3)]
    counting = np.arange(40) % 4 != 0
    labels = np.tile(np.flatnonzero(counting), 3), np.arange(3).repeat(30)
    expected = resample(np.concatenate([of[counting] for of in off]), *labels, samples=2000)
    assert b.comparisons["accuracy"].difference == pytest.approx(expected.interval)
    assert b.comparisons["accuracy"].verdict == "higher"
    assert b.scores["accuracy"].mean - a.scores["accuracy"].mean == pytest.approx(expected.mean)
    assert words.comparisons["accuracy"] is None
    (about,) = (row for row in make_power(study, 4.0).rows if row.column == "accuracy")
    assert about.paired.queries == 30


@pytest.mark.parametrize(
    ("values", "note"), [([2.0], [1]), ([0.5, 0.5], [1]), ([-1.0], [1])], ids=["above", "lengths", "below"]
)
def test_a_damaged_file_of_words_is_refused(values, note, tmp_path):
    study = known_study(tmp_path, drawn, columns=["accuracy"])
    tensors = {"trained.accuracy": torch.tensor(values, dtype=torch.float64), "note": torch.tensor(note)}
    save_file(tensors, study.cells[0].folder / "words.safetensors")
    with pytest.raises(DataError, match="must hold accuracy of each note, in 0..1, but does not"):
        make_table(study)


def test_tagged_queries_are_a_column_where_the_file_names_them(tmp_path):
    study = known_study(tmp_path, drawn, columns=["tagged.mrr", "mrr"])
    assert make_table(study).rows[1].scores["tagged.mrr"] is None  # of an older version
    for cell in study.cells:
        path = cell.folder / "ranks.safetensors"
        tagged = {"query.tagged": (torch.arange(80) < 30).to(torch.uint8)}
        save_file(load_file(path) | tagged, path, metadata={"pool": str(POOL)})
    a, b, _ = make_table(study).rows
    means = {row: np.mean([values(drawn(row, s)[0], "mrr")[:30].mean() for s in range(3)]) for row in "ab"}
    assert b.scores["tagged.mrr"].mean == pytest.approx(means["b"])
    assert b.comparisons["tagged.mrr"].difference.value == pytest.approx(means["b"] - means["a"])


def test_files_of_older_versions_have_no_targets(tmp_path):
    table = make_table(known_study(tmp_path, drawn, with_targets=False))
    assert table.rows[1].comparisons["macro.recall@10"] is None
    assert table.rows[1].comparisons["recall@10"] is not None
    assert "their queries count as independent" in table.note()


def test_equal_rows_are_equivalent_where_targets_suffice(tmp_path):
    """Twenty targets without a difference exclude that a third of all have one, but not that one in 200 has."""
    study = known_study(tmp_path, lambda row, seed: drawn("a", seed))
    table = make_table(study, margin=33)
    assert {found.verdict for found in table.rows[1].comparisons.values()} == {"equivalent"}
    assert " (+0.0=) |" in table.markdown()
    narrow = make_table(study, margin=0.5)
    assert {found.verdict for found in narrow.rows[1].comparisons.values()} == {"undecided"}


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


def two_rows_run(tmp_path):
    """A study of three rows, two of which have been run; and whether each query of these found its target."""
    write_study(
        "# @package _global_\nstudy:\n  columns: [recall@2, low.recall@2]\n  against: a\n  rows:\n    a: {}\n"
        "    b: {set: [loss.alpha=0.1]}\n    c: {set: [loss.alpha=0.2]}\n",
        "two",
    )
    study = load_study("two", scale="smoke", folder=tmp_path, overrides=["evaluation.ks=[2]"])
    draw = np.random.default_rng(0)
    hits = {}
    for cell in study.cells[:2]:
        ranks = torch.from_numpy(draw.integers(0, 4, 50))
        hits[cell.row.key] = (ranks < 2).double().numpy()
        cell.folder.mkdir(parents=True)
        tensors = {"trained.greater": ranks, "trained.equal": torch.zeros_like(ranks)}
        tensors |= {"exposure.low": (torch.arange(50) < 20).to(torch.uint8)}
        tensors |= {"exposure.place": torch.arange(50).roll(len(hits)).double() / 50}
        save_file(tensors, cell.folder / "ranks.safetensors")
        metrics = {"recall@2": float(hits[cell.row.key].mean())}
        of_data = {"data": "x", "queries": "y", "commit": cell.row.key}
        study.ledger.append(
            {"key": cell.key, "status": "done", "finished": "2026", "seconds": 1, "metrics": metrics}
            | of_data
        )
    return study, hits


def test_differences_are_paired_over_the_same_queries(place, tmp_path):
    study, hits = two_rows_run(tmp_path)
    a, b, c = make_table(study).rows
    found = b.comparisons["recall@2"]
    expected = bootstrap_difference(hits["b"], hits["a"], samples=5000)
    assert found.difference == pytest.approx([100 * value for value in expected], abs=4)  # steps of 2
    low = bootstrap_difference(hits["b"][:20], hits["a"][:20], samples=5000)
    assert b.comparisons["low.recall@2"].difference == pytest.approx([100 * value for value in low], abs=10)
    assert found.verdict == "undecided"
    assert "their queries count as independent" in make_table(study).note()
    (line, _) = make_table(study).verdicts().grid(str).lines
    assert line[:3] == ["b", "R@2", f"{round(found.difference.value, 1):+.1f}"]
    assert line[4:] == [f"{found.p:.3f}", "undecided", f"{found.smallest:.1f}"]
    assert make_table(study, margin=99).rows[1].comparisons["recall@2"].verdict == "equivalent"
    power = make_power(study, 5.0).grid(str).lines[0]
    assert power[:5] == ["b", "R@2", "1", "50", "50"]
    assert float(power[5]) == pytest.approx(found.smallest, abs=0.051)
    assert b.scores["recall@2"].mean == pytest.approx(100 * hits["b"].mean())
    assert b.scores["recall@2"].deviation is None
    assert c.status == "1 not run"
    assert c.comparisons["recall@2"] is None
    unseen = Comparison(Interval(-0.01, -1.0, 1.0), 1.0, 1.0, 2.0, Verdict.UNDECIDED)
    nothing = replace(b, comparisons={"recall@2": unseen})
    assert " (+0.0) |" in replace(make_table(study), rows=[nothing]).markdown()
    assert "The runs are of 2 commits; the ledger names them." in make_table(study).note()


def test_old_data_and_other_queries_are_not_compared(place, tmp_path):
    study, _ = two_rows_run(tmp_path)
    with pytest.raises(ValueError, match="all rows must have the same queries"):
        plot_exposure(study, tmp_path / "e.svg")
    newer = study.ledger.newest()[study.cells[1].key] | {"data": "z", "finished": "2027"}
    study.ledger.append(newer)
    a, b, _ = make_table(study).rows
    assert (a.status, a.scores["recall@2"]) == ("1 on other data", None)
    assert b.comparisons["recall@2"] is None
    study.ledger.append(newer | {"data": "x", "queries": "others"})
    assert make_table(study).rows[1].comparisons["recall@2"] is None
    study.ledger.append(newer | {"status": "begun"})
    assert make_table(study).rows[1].status == "1 not finished"
