"""Rows that show other vectors of the same run: fewer numbers, and int8."""

import json

import pytest
import torch
from safetensors.torch import load_file

from notellm.app.cli import main
from notellm.app.studies import make_study, make_table, plot_map, sweep
from notellm.app.studies.sweep import plan
from notellm.embedding import truncated
from notellm.errors import ConfigError
from notellm.int8 import from_int8, to_int8
from notellm.vector_files import load_embeddings
from writing import write_study

CHANGES = ["evaluation.dims=[2,4]", "evaluation.generation_notes=0"]
NODE = {
    "columns": ["recall@1", "recall@10", "mrr"],
    "against": "whole",
    "rows": {
        "whole": {},
        "first": {"system": "trained.d2"},
        "bytes": {"system": "trained.d4.int8"},
        "nested": {"system": "trained.int8", "set": ["loss.nested_dims=[2,4]"]},
        "words": {"system": "bm25"},
    },
}


def study_of(node, folder, overrides):
    return make_study("variants", node, scale="smoke", overrides=[*overrides, *CHANGES], folder=folder)


def test_rows_share_a_run_and_show_its_variants(tmp_path, overrides):
    study, said = study_of(NODE, tmp_path, overrides), []
    entries = sweep(study, say=said.append)
    assert [entry["row"] for entry in entries] == ["whole", "nested", "words"]
    table = make_table(study)
    assert [row.status for row in table.rows] == [""] * 5
    whole = entries[0]["metrics"]
    for place, variant in ((0, ""), (1, "d2."), (2, "d4.int8.")):
        shown = {column: score.mean for column, score in table.rows[place].scores.items()}
        assert shown == {column: 100 * whole[f"{variant}{column}"] for column in NODE["columns"]}
    expected = whole["d2.recall@10"] - whole["recall@10"]
    assert table.rows[1].comparisons["recall@10"].difference.value == pytest.approx(100 * expected)
    assert sweep(study_of(NODE, tmp_path, overrides), say=said.append) == []
    assert said[-1].endswith("done before")


def test_variants_are_of_the_vectors_that_are_kept(tmp_path, overrides):
    study = study_of(NODE | {"rows": {"whole": {}}}, tmp_path, overrides)
    sweep(study, say=lambda _: None)
    folder = study.cells[0].folder
    [file] = (folder / "embeddings").glob("trained-*")
    vectors, ranks = load_embeddings(file)[1], load_file(folder / "ranks.safetensors")
    names = {key.removesuffix(".greater") for key in ranks if key.endswith(".greater")}
    assert names == {"trained", *(f"trained.{v}" for v in ("int8", "d2", "d2.int8", "d4", "d4.int8"))}
    scores = {
        "trained.d2": truncated(vectors, 2),
        "trained.d4.int8": from_int8(*to_int8(truncated(vectors, 4))),
    }
    for name, rows in scores.items():
        assert not torch.equal(rows @ rows.T, vectors @ vectors.T)
        assert (ranks[f"{name}.greater"] < len(rows)).all()


def test_a_map_shows_the_vectors_of_its_row(tmp_path, overrides, monkeypatch):
    """Each at its width: the row's own, or the configuration's."""
    from notellm.app.studies import embedding_map

    rows = {key: NODE["rows"][key] for key in ("whole", "first", "bytes")}
    study = study_of(
        NODE | {"rows": rows},
        tmp_path,
        [*overrides, "loss.nested_dims=[5]", "embed.dim=5", "embed.storage=int8"],
    )
    entries = sweep(study, say=lambda _: None)
    assert [entry["error"] for entry in entries] == [""]
    [file] = (study.cells[0].folder / "embeddings").glob("trained-*")
    vectors, shown = load_embeddings(file)[1], []
    monkeypatch.setattr(embedding_map, "on_a_plane", lambda rows, where: shown.append(rows) or rows.numpy())
    monkeypatch.setattr(embedding_map, "draw", lambda *_: None)
    for row in rows:
        plot_map(study, row, "map.svg")
    whole, first, four = (truncated(vectors, width) for width in (5, 2, 4))
    for found, expected in zip(
        shown, (from_int8(*to_int8(whole)), first, from_int8(*to_int8(four))), strict=True
    ):
        assert torch.equal(found, expected)


def test_rows_that_share_a_run_are_planned_once(tmp_path, overrides, monkeypatch, capsys):
    study = study_of(NODE, tmp_path, overrides)
    assert [planned.cell.row.key for planned in plan(study)] == ["whole", "nested", "words"]
    whole, *_ = study.cells
    study.ledger.append({"key": whole.key, "status": "done", "seconds": 60})
    assert [(said, seconds) for _, said, seconds in plan(study)] == [
        ("done before", None),
        ("", 60),
        ("", None),
    ]
    again = [(cell.row.key, said) for cell, said, _ in plan(study, again=["first"])]
    assert again == [("first", ""), ("nested", ""), ("words", "")]
    monkeypatch.chdir(tmp_path)
    write_study(f"# @package _global_\nstudy: {json.dumps(NODE)}\n", "shared")
    assert main(["sweep", "shared", "scale=smoke", *overrides, *CHANGES, "--dry-run", "--folder", "."]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 5
    assert "whole, seed 0: done before" in shown[1]
    assert "nested, seed 0: to run, about 1.0 min" in shown[2]
    assert shown[4] == "1 minutes, and 1 cells of unknown length"


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (
            "trained.d3",
            "row a: system must be measured, but is trained.d3; there are trained, trained.int8, trained.d4",
        ),
        ("trained.", ""),
        ("bm25.d2", "system must be measured, but is bm25.d2; there are bm25 "),
        ("other", "evaluation.systems"),
    ],
)
def test_a_variant_that_is_not_measured_is_refused(system, message, tmp_path, overrides):
    node = NODE | {"rows": {"a": {"system": system}}, "against": "a"}
    if not message:
        study_of(node, tmp_path, overrides)
        return
    with pytest.raises(ConfigError, match=message):
        study_of(node, tmp_path, overrides)
