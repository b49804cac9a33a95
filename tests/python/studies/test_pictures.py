"""Pictures of studies: what they show is what was measured."""

import pytest

from notellm.cli import main


def test_pictures_of_single_queries(swept, place, overrides, capsys):
    study, entries, _ = swept
    command = ["experiment=small", "scale=smoke", *overrides]
    for kind, more in (("recall", []), ("exposure", ["--k", "1"]), ("map", ["--row", "gcl"])):
        files = [place / f"{kind}{i}.svg" for i in (1, 2)]
        for file in files:
            assert main(["plot", *command, "--kind", kind, *more, "--output", str(file)]) == 0
        first, second = (file.read_text() for file in files)
        assert first == second
        assert all(name in first for name in (["gcl"] if kind == "map" else ["TF-IDF", "Both losses", "gcl"]))
        assert "Diverges" not in first
    capsys.readouterr()
    refused = {
        "the row must be one of words, joint, faulty, gcl, but is 'nobody'": ["--row", "nobody"],
        "words must have embeddings in": ["--row", "words"],
    }
    for message, more in refused.items():
        assert main(["plot", *command, "--kind", "map", *more, "--output", "map.svg"]) == 2
        assert message in capsys.readouterr().err
    nothing = ["experiment=small", "scale=laptop", *overrides, "--output", "nothing.svg"]
    assert main(["plot", *nothing, "--kind", "recall"]) == 2
    assert "a finished run with its ranks, but there is none" in capsys.readouterr().err


def test_curves_show_what_was_measured(swept, place, monkeypatch):
    """The recall curve goes through the table's numbers; tenths by exposure hold every query once."""
    from notellm.studies import plot

    study, entries, _ = swept
    done = {
        entry["row"]: entry["metrics"]
        for entry in entries
        if entry["status"] == "done" and entry["seed"] == 0
    }
    drawn = []
    monkeypatch.setattr(plot, "draw", lambda path, title, size, paint: drawn.append(paint))
    plot.plot_recall(study, "recall.svg")
    plot.plot_exposure(study, "exposure.svg", k=1)
    from matplotlib.figure import Figure

    figures = [Figure(), Figure()]
    for paint, figure in zip(drawn, figures, strict=True):
        paint(figure)
    curves = {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in figures[0].axes[0].lines}
    assert curves["TF-IDF"][1] == pytest.approx(100 * done["words"]["recall@1"])
    assert curves["TF-IDF"][10] == pytest.approx(100 * done["words"]["recall@10"])
    counts = [
        int(label.get_text().split("(")[1].rstrip(")")) for label in figures[1].axes[0].get_xticklabels()
    ]
    assert sum(counts) == 12
    words = next(c for c in figures[1].axes[0].containers if c.get_label() == "TF-IDF")
    mean = sum(n * y for n, y in zip([n for n in counts if n], words.lines[0].get_ydata(), strict=True)) / 12
    assert mean == pytest.approx(100 * done["words"]["recall@1"])
