"""Rows that show other vectors of the same run: fewer numbers, and int8."""

import pytest
import torch
from safetensors.torch import load_file

from notellm.app.studies import make_study, make_table, sweep
from notellm.embedding import truncated
from notellm.errors import ConfigError
from notellm.int8 import from_int8, to_int8
from notellm.vector_files import load_embeddings

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
