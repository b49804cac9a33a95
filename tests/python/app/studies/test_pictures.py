"""Pictures of studies: what they show is what was measured."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from notellm.app.cli import main
from notellm.app.studies import Table, make_study, make_table, plot_table
from notellm.app.studies.table import Score, TableRow, column_name


def test_pictures_of_single_queries(swept, place, overrides, capsys):
    study, entries, _ = swept
    command = ["experiment=small", "scale=smoke", *overrides]
    shown = {
        "recall": ([], ["TF-IDF", "Both losses", "gcl"]),
        "exposure": (["--k", "1"], ["TF-IDF", "Both losses", "gcl"]),
        "map": (["--row", "gcl"], ["gcl"]),
        "differences": (["--against", "gcl"], ["TF-IDF", "Both losses", "row minus gcl"]),
    }
    for kind, (more, names) in shown.items():
        files = [place / f"{kind}{i}.svg" for i in (1, 2)]
        for file in files:
            assert main(["plot", *command, "--kind", kind, *more, "--output", str(file)]) == 0
        first, second = (file.read_text() for file in files)
        assert first == second
        assert all(name in first for name in names)
        assert "Diverges" not in first
    capsys.readouterr()
    refused = {
        "the row must be one of words, joint, faulty, gcl, but is 'nobody'": ["--row", "nobody"],
        "words must have embeddings in": ["--row", "words"],
    }
    for message, more in refused.items():
        assert main(["plot", *command, "--kind", "map", *more, "--output", "map.svg"]) == 2
        assert message in capsys.readouterr().err
    assert main(["plot", *command, "--kind", "recall", "--against", "gcl", "--output", "no.svg"]) == 2
    assert "--against: must come with --kind differences, but the kind is recall" in capsys.readouterr().err
    nothing = ["experiment=small", "scale=laptop", *overrides, "--output", "nothing.svg"]
    assert main(["plot", *nothing, "--kind", "recall"]) == 2
    assert "a finished run with its ranks, but there is none" in capsys.readouterr().err
    assert main(["plot", *nothing, "--kind", "differences"]) == 2
    assert "two rows with runs on the same queries, but there are none" in capsys.readouterr().err


def test_curves_show_what_was_measured(swept, place, monkeypatch):
    """The recall curve goes through the table's numbers; tenths by exposure hold every query once."""
    from notellm.app.studies import exposure_plot, recall_plot

    study, entries, _ = swept
    done = {
        entry["row"]: entry["metrics"]
        for entry in entries
        if entry["status"] == "done" and entry["seed"] == 0
    }
    drawn = []
    for module in (recall_plot, exposure_plot):
        monkeypatch.setattr(module, "draw", lambda path, title, size, paint: drawn.append(paint))
    recall_plot.plot_recall(study, "recall.svg")
    exposure_plot.plot_exposure(study, "exposure.svg", k=1)
    from matplotlib.figure import Figure

    figures = [Figure(), Figure()]
    for paint, figure in zip(drawn, figures, strict=True):
        paint(figure)
    curves = {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in figures[0].axes[0].lines}
    assert curves["TF-IDF"][1] == pytest.approx(100 * done["words"]["recall@1"])
    assert curves["TF-IDF"][10] == pytest.approx(100 * done["words"]["recall@10"])
    targets = {
        line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in figures[0].axes[1].lines
    }
    assert targets["TF-IDF"][10] == pytest.approx(100 * done["words"]["macro.recall@10"])
    few = figures[0].axes[0]
    few.set_xlim(1, 9)
    figures[0].draw_without_rendering()
    named = {label.get_text() for label in few.get_xticklabels(minor=True)}
    assert {"2", "3"} <= named  # no formulas, which nobody would set
    counts = [
        int(label.get_text().split("(")[1].rstrip(")")) for label in figures[1].axes[0].get_xticklabels()
    ]
    assert sum(counts) == 12
    words = next(c for c in figures[1].axes[0].containers if c.get_label() == "TF-IDF")
    mean = sum(n * y for n, y in zip([n for n in counts if n], words.lines[0].get_ydata(), strict=True)) / 12
    assert mean == pytest.approx(100 * done["words"]["recall@1"])


def test_bars_by_exposure_are_of_whole_targets_and_seeds():
    """Ten queries of two targets, one of which both seeds find: more than two targets say is not known."""
    from notellm.app.studies.exposure_plot import _ByExposure

    tenths, values = np.zeros(20, np.int64), np.repeat([1.0, 0.0, 1.0, 0.0], 5)
    targets, seeds = np.repeat([7, 8, 7, 8], 5), np.repeat([0, 1], 10)
    found = _ByExposure("r", tenths[:10], tenths, values, targets, seeds).recall(0)
    assert found == (50, 0, 100)
    alone = _ByExposure("r", tenths, tenths, values, np.arange(20), np.zeros(20, np.int64)).recall(0)
    assert 20 < alone.low < alone.high < 80


@pytest.mark.parametrize("column", ["macro.recall@10", "accuracy"])
def test_time_is_that_of_training_and_what_is_not_trained_is_a_line(swept, monkeypatch, column):
    from matplotlib.figure import Figure

    from notellm.app.studies import time_plot

    swept_study, entries, _ = swept
    study = replace(swept_study, columns=("recall@10", "macro.recall@10", "accuracy"))
    done = {(entry["row"], entry["seed"]): entry for entry in entries if entry["status"] == "done"}
    minutes = [done["joint", seed]["training_seconds"] / 60 for seed in (0, 1)]
    found = [100 * done["joint", seed]["metrics"][column] for seed in (0, 1)]
    drawn = []
    monkeypatch.setattr(time_plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    time_plot.plot_time(study, "time.svg", column=column)
    figure = Figure()
    drawn[0](figure)
    (axes,) = figure.axes
    points = {of.get_label(): of.lines[0].get_xydata()[0] for of in axes.containers}
    assert points.keys() == {"Both losses", "gcl"}
    assert points["Both losses"] == pytest.approx([np.mean(minutes), np.mean(found)])
    lines = {line.get_label(): line.get_ydata()[0] for line in axes.lines}
    words = done["words", 0]["metrics"].get(column)  # TF-IDF writes none
    assert lines.get("TF-IDF (not trained)") == (words and pytest.approx(100 * words))
    axes.set_xlim(1, 9)
    figure.draw_without_rendering()
    named = {label.get_text() for label in axes.get_xticklabels(minor=True)}
    assert {"2", "3"} <= named  # no formulas, which nobody would set
    older = [{**entry, "training_seconds": 0.0} for entry in entries]
    monkeypatch.setattr(study.ledger, "entries", lambda: older)
    with pytest.raises(ValueError, match="must say how long they trained, but row joint has an older one"):
        time_plot.plot_time(study, "time.svg")
    with pytest.raises(ValueError, match=r"column must be one of recall@10, .*, but is 'recall@7'"):
        time_plot.plot_time(study, "time.svg", column="recall@7")


def test_pictures_are_of_the_seeds_that_all_rows_have(swept, monkeypatch):
    """Seeds may have splits of their own: a mean over two does not compare with that of one of them."""
    from matplotlib.figure import Figure

    from notellm.app.studies import time_plot

    study, entries, _ = swept
    done = {(entry["row"], entry["seed"]): entry for entry in entries if entry["status"] == "done"}
    drawn = []
    monkeypatch.setattr(time_plot, "draw", lambda path, title, size, paint: drawn.append((title, paint)))
    time_plot.plot_time(study, "time.svg", column="recall@10")
    less = [entry for entry in entries if entry is not done["gcl", 0]]
    monkeypatch.setattr(study.ledger, "entries", lambda: less)
    time_plot.plot_time(study, "time.svg", column="recall@10")
    assert ["2 seeds)" in title for title, _ in drawn] == [True, False]
    assert "1 seed)" in drawn[1][0]
    figure = Figure()
    drawn[1][1](figure)
    (joint,) = [of for of in figure.axes[0].containers if of.get_label() == "Both losses"]
    assert joint.lines[0].get_ydata() == pytest.approx([100 * done["joint", 1]["metrics"]["recall@10"]])
    none = [entry for entry in less if entry is not done["joint", 1]]
    monkeypatch.setattr(study.ledger, "entries", lambda: none)
    with pytest.raises(ValueError, match=r"rows must share a seed, but they have .*'joint': \{0\}"):
        time_plot.plot_time(study, "time.svg", column="recall@10")


def test_minutes_are_of_the_runs_that_measure_the_column(swept, monkeypatch):
    from matplotlib.figure import Figure

    from notellm.app.studies import time_plot

    study, entries, _ = swept
    timed = [{**entry, "training_seconds": 60.0 * (1 + 9 * entry["seed"])} for entry in entries]
    monkeypatch.setattr(study.ledger, "entries", lambda: timed)
    monkeypatch.setattr(time_plot, "measured", lambda cell, entry, column: None if cell.seed else 0.5)
    drawn, figure = [], Figure()
    monkeypatch.setattr(time_plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    time_plot.plot_time(study, "time.svg")
    drawn[0](figure)
    assert [of.lines[0].get_xydata()[0].tolist() for of in figure.axes[0].containers] == [[1.0, 50.0]] * 2


def test_rows_that_differ_in_their_steps_are_joined_from_the_shortest_to_the_longest(swept, monkeypatch):
    from matplotlib.figure import Figure

    from notellm.app.studies import time_plot

    rows = {"short": {}, "long": {"set": ["train.max_steps=99"]}, "wide": {"set": ["model.dim=8"]}}
    cells = make_study("steps", {"rows": rows}, scale="smoke").cells
    short, long, wide = (cell.without("train.max_steps") for cell in cells[:3])
    assert short == long != wide
    assert cells[0].without("model.dim") == cells[2].without("model.dim") != cells[1].without("model.dim")
    drawn, figure = [], Figure()
    monkeypatch.setattr(time_plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    monkeypatch.setattr(type(cells[0]), "without", lambda cell, option: option)
    time_plot.plot_time(swept[0], "time.svg")
    drawn[0](figure)
    points = [of.lines[0].get_xydata()[0].tolist() for of in figure.axes[0].containers]
    assert len(points) == 2
    assert figure.axes[0].lines[0].get_xydata().tolist() == sorted(points)


def test_differences_are_drawn_with_interval_and_verdict(monkeypatch):
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    from notellm.app.studies import difference_plot
    from notellm.evaluation import Comparison, Verdict
    from notellm.metrics import Interval

    def found(verdict, *interval):
        return Comparison(Interval(*interval), 0.01, 0.01, 1.0, verdict)

    higher, undecided = found(Verdict.HIGHER, 4, 2, 6), found(Verdict.UNDECIDED, -0.2, -0.8, 0.4)
    rows = [
        TableRow("base", 2, "", {}, {"mrr": None}, {}),
        TableRow("both", 2, "", {}, {"mrr": higher, "recall@10": undecided}, {}),
        TableRow("one", 2, "", {}, {"mrr": undecided, "recall@10": None}, {}),
        TableRow("not run", 0, "", {}, {}, {}),
    ]
    drawn = []
    monkeypatch.setattr(difference_plot, "draw", lambda *picture: drawn.append(picture))
    table = Table("T", ["mrr", "recall@10", "accuracy"], rows, "base", margin=0.7)
    difference_plot.plot_differences(table, "d.svg")
    ((_, title, _, paint),) = drawn
    assert title == "T\nrow minus base, in points"
    figure = Figure()
    paint(figure)
    figure.draw_without_rendering()
    mrr, recall = figure.axes
    assert [axes.get_title() for axes in (mrr, recall)] == [column_name("mrr"), column_name("recall@10")]
    for axes, expected in ((mrr, {0: higher, 1: undecided}), (recall, {0: undecided})):
        lines = axes.lines[1:]  # the first is that of no difference
        bars, points = lines[::2], lines[1::2]
        assert {bar.get_ydata()[0]: list(bar.get_xdata()) for bar in bars} == {
            place: [of.difference.low, of.difference.high] for place, of in expected.items()
        }
        assert {p.get_ydata()[0]: p.get_xdata()[0] for p in points} == {
            place: of.difference.value for place, of in expected.items()
        }
        assert [p.get_label() for p in points] == [of.verdict.value for of in expected.values()]
        band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert (band.x0, band.x1) == pytest.approx((-0.7, 0.7))
    assert [label.get_text() for label in mrr.get_yticklabels()] == ["both", "one"]
    keys = {
        of.get_text(): to_hex(line.get_color())
        for of, line in zip(figure.legends[0].get_texts(), figure.legends[0].legend_handles, strict=True)
    }
    assert to_hex(mrr.lines[2].get_color()) == keys["higher"] != keys["undecided"]


def test_no_empty_panel_of_differences_is_seen(monkeypatch):
    from matplotlib.figure import Figure

    from notellm.app.studies import difference_plot
    from notellm.evaluation import Comparison, Verdict
    from notellm.metrics import Interval

    columns = ["mrr", "recall@1", "recall@10", "accuracy"]
    found = dict.fromkeys(columns, Comparison(Interval(0, -1, 1), 1.0, 1.0, 1.0, Verdict.UNDECIDED))
    drawn = []
    monkeypatch.setattr(difference_plot, "draw", lambda *picture: drawn.append(picture))
    difference_plot.plot_differences(Table("T", columns, [TableRow("r", 1, "", {}, found, {})], "b"), "d.svg")
    figure = Figure()
    drawn[0][-1](figure)
    assert [axes.get_visible() for axes in figure.axes] == [True] * 4 + [False] * 2


def test_a_baseline_is_no_point_of_a_scale(tmp_path):
    rows = {"words": {"system": "bm25"}, **{f"a{a}": {"set": [f"loss.alpha={a}"]} for a in (0, 1)}}
    assert make_table(make_study("m", {"rows": rows}, scale="smoke", folder=tmp_path)).scale_of == ""


@pytest.mark.parametrize("scale_of", ["", "loss.alpha"])
def test_table_is_drawn_as_curves_or_dots(monkeypatch, scale_of):
    """Curves join the points of a scale; rows that are none are dots, from top to bottom, and never joined."""
    from matplotlib.figure import Figure

    from notellm.app.studies import table_plot

    values = {"first": (20.0, None), "second": (30.0, 2.0), "missing": None}
    rows = [
        TableRow(name, int(score is not None), "", {"mrr": score and Score(*score), "accuracy": None}, {}, {})
        for name, score in values.items()
    ]
    drawn = []
    monkeypatch.setattr(table_plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    table_plot.plot_table(Table("t", ["mrr", "accuracy"], rows, "first", scale_of=scale_of), "t.svg")
    figure = Figure()
    drawn[0](figure)
    retrieval, generation = figure.axes
    (mrr,), (accuracy,) = retrieval.containers, generation.containers
    across, upwards = mrr.lines[0].get_data()
    places, means = (across, upwards) if scale_of else (upwards, across)
    assert list(places) == [0, 1]
    assert list(means) == [20, 30]
    assert (mrr.lines[0].get_linestyle() == "-") == bool(scale_of)
    assert list(accuracy.lines[0].get_xdata()) == []
    labels = retrieval.get_xticklabels() if scale_of else retrieval.get_yticklabels()
    assert [label.get_text() for label in labels] == list(values)
    assert scale_of or retrieval.yaxis_inverted()
    (bars,) = mrr.lines[2]
    _, bar = bars.get_segments()
    assert bar[:, 1 if scale_of else 0].tolist() == [28, 32]


def test_all_metrics_of_ranks_are_in_one_panel(monkeypatch):
    from matplotlib.figure import Figure

    from notellm.app.studies import table_plot

    ranked = [
        "log_score",
        "mrr",
        "macro.log_score",
        "ndcg@10",
        "low.map@10",
        "coverage@10",
        "macro.recall@10",
    ]
    written = ["accuracy", "illusory", "rougeL", "bleu4"]
    columns = [*written, *ranked]
    rows = [TableRow("a", 1, "", {column: Score(20.0, None) for column in columns}, {}, {})]
    drawn = []
    monkeypatch.setattr(table_plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    table_plot.plot_table(Table("t", columns, rows, "a"), "t.svg")
    figure = Figure()
    drawn[0](figure)
    panels = [[of.get_label() for of in axes.containers] for axes in figure.axes]
    assert panels == [[*map(column_name, ranked)], [*map(column_name, written)]]


def test_names_in_pictures_are_no_formulas(tmp_path):
    name = "$x_1$ & <b> $\\alpha$"
    rows = [TableRow(name, 1, "", {"mrr": Score(20.0, None)}, {}, {})]
    for place, scale_of in enumerate(("", "loss.alpha")):
        path = plot_table(Table(name, ["mrr"], rows, name, scale_of=scale_of), tmp_path / f"{place}.svg")
        texts = [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
        assert texts.count(name) == 2  # title and tick


@pytest.mark.parametrize("scale_of", ["", "loss.alpha"], ids=["dots", "curves"])
def test_names_of_columns_stay_in_the_picture(scale_of, monkeypatch):
    from matplotlib.figure import Figure

    from notellm.app.studies import table_plot

    columns = [
        f"{part}{name}" for part in ("", "macro.") for name in ("recall@10", "recall@100", "log_score")
    ]
    rows = [
        TableRow(name, 2, "", {column: Score(50.0, 1.0) for column in columns}, {}, {})
        for name in ("one", "two")
    ]
    drawn = []
    monkeypatch.setattr(table_plot, "draw", lambda *picture: drawn.append(picture))
    plot_table(Table("T", columns, rows, "one", scale_of=scale_of), "table.svg")
    ((_, title, size, paint),) = drawn
    figure = Figure(figsize=size, layout="constrained")
    paint(figure)
    figure.suptitle(title)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    legend = axes.get_legend().get_window_extent()
    assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= legend.y0 < legend.y1 <= figure.bbox.y1
    assert axes.bbox.height > 0.3 * figure.bbox.height
