"""What dtype=auto becomes in a study: one dtype for a table, that of the folder's runs where it has been begun."""

from pathlib import Path

import pytest

from notellm.app.cli import main
from notellm.app.studies import load_study, make_study, make_table
from notellm.app.studies.sweep import plan
from notellm.errors import ConfigError

ROOT = Path(__file__).parents[4]
ROWS = {f"alpha_{alpha}": {"set": [f"loss.alpha={alpha}"]} for alpha in (0.1, 1, 10)}
DONE = {"status": "done", "searched": "", "error": "", "data": "a", "queries": "q", "commit": "c"}


@pytest.fixture
def make(tmp_path):
    """Makes the same small study in one folder, with some overrides."""

    def make(*overrides, rows=ROWS):
        node = {"rows": rows, "columns": ["mrr"]}
        return make_study("alphas", node, scale="smoke", overrides=overrides, folder=tmp_path)

    return make


def finish(study, cells):
    for cell in cells:
        study.ledger.append(
            DONE | {"key": cell.key, "metrics": {"mrr": 0.5}, "finished": "2026-01-01", "seconds": 1.0}
        )


def keys(study):
    return [cell.key for cell in study.cells]


@pytest.mark.parametrize(("is_native", "became"), [(True, "bf16"), (False, "fp32")])
def test_cells_are_named_by_what_auto_became(is_native, became, native_bf16, make):
    native_bf16(is_native)
    study = make()
    assert study.dtypes == [became]
    assert keys(study) == keys(make(f"dtype={became}"))
    assert [cell.folder.name for cell in study.cells] == keys(study)
    other = {"bf16": "fp32", "fp32": "bf16"}[became]
    assert not set(keys(study)) & set(keys(make(f"dtype={other}")))


def test_a_study_goes_on_as_it_was_begun(native_bf16, make):
    native_bf16(True)
    begun = make()
    finish(begun, begun.cells[:1])
    native_bf16(False)
    study = make()
    assert keys(study) == keys(begun)
    assert [bool(planned.said) for planned in plan(study)] == [True, False, False]
    assert make("dtype=fp32").dtypes == ["fp32"]


def test_a_run_folder_is_a_beginning(native_bf16, make):
    native_bf16(True)
    make().cells[0].folder.mkdir(parents=True)
    native_bf16(False)
    assert make().dtypes == ["bf16"]


def test_of_two_beginnings_the_longer_one_goes_on(native_bf16, make):
    in_bf16, in_fp32 = make("dtype=bf16"), make("dtype=fp32")
    finish(in_bf16, in_bf16.cells[:1])
    finish(in_fp32, in_fp32.cells[:2])
    for is_native in (True, False):
        native_bf16(is_native)
        assert make().dtypes == ["fp32"]
    finish(in_bf16, in_bf16.cells[1:2])
    for is_native, became in ((True, "bf16"), (False, "fp32")):  # as many of both: as the machine has it
        native_bf16(is_native)
        assert make().dtypes == [became]


def test_rows_that_set_a_dtype_keep_it(native_bf16, make):
    rows = {"own": {}, "exact": {"set": ["dtype=fp32"]}}
    native_bf16(True)
    study = make(rows=rows)
    assert [cell.config.dtype for cell in study.cells] == ["bf16", "fp32"]
    finish(study, study.cells)
    model = "SmolLM2-135M-Instruct, dequantised from Q4_1, its first 6 layers"
    assert f"Language model: {model}; products in bf16 and fp32." in make_table(study).note()


def test_rows_that_come_to_the_same_dtype_are_refused(native_bf16, make):
    native_bf16(False)
    with pytest.raises(ConfigError, match="rows must differ, but own and exact come to the same"):
        make(rows={"own": {}, "exact": {"set": ["dtype=fp32"]}})


def test_a_table_of_words_alone_names_no_model(make):
    study = make(rows={"words": {"system": "tfidf"}})
    finish(study, study.cells)
    assert "Language model" not in make_table(study).note()


@pytest.mark.parametrize(
    ("name", "is_native"),
    [("table2", False), ("table3", False), ("table4", False), ("table4", True), ("table5", False)]
    + [("table6", False), ("csft_alone", False)],
)
def test_the_shipped_results_are_found_on_any_machine(name, is_native, native_bf16, monkeypatch):
    """They were made in bf16, their learning rates by searches in it; before the rows that tell trivial answers."""
    monkeypatch.chdir(ROOT)
    native_bf16(is_native)
    study = load_study(name, scale="laptop", folder="experiments/results")
    assert study.dtypes == ["bf16"]
    later = {"random", "popularity"}
    assert all(planned.said for planned in plan(study) if planned.cell.row.key not in later)
    table = make_table(study)
    assert {row.status for row in table.rows if not row.name.startswith(("Random", "Popularity"))} == {""}
    text = "Language model: SmolLM2-135M-Instruct, dequantised from Q4_1; products in bf16."
    assert text in table.note()
    assert table.markdown() == (ROOT / f"experiments/results/laptop/{name}.md").read_text()


def test_a_dry_run_says_the_dtype(native_bf16, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    native_bf16(False)
    call = ["table6", "scale=laptop", "--folder", "experiments/results", "--dry-run"]
    assert main(["sweep", *call]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "scale laptop, bf16: 6 rows, 1 seeds" in lines[0]
    assert all(": done " in line for line in lines[1:-1])
