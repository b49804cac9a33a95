"""The studies of experiments/conf, composed at every scale and swept on a tiny backbone."""

from pathlib import Path

import pytest

from notellm.app.config import compose_study
from notellm.app.studies import load_study, make_study, make_table, sweep

ROOT = Path(__file__).parents[4]
SHIPPED = sorted(
    path.stem
    for path in (ROOT / "experiments/conf/experiment").glob("*.yaml")
    if "\nstudy:" in path.read_text()
)


def test_every_shipped_study_can_be_composed():
    assert {"table2", "table3", "table4", "table5", "table6", "prompt_variants", "scaling"} <= set(SHIPPED)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for name in SHIPPED:
            is_for_powered = name.startswith("powered") or name == "levers"
            scales = ("smoke",) if is_for_powered else ("laptop",)  # test_powered.py composes them at theirs
            for scale in ("smoke", "laptop", "paper") if name.startswith("table") else scales:
                study = load_study(name, scale=scale, seeds=[0])
                assert len({(cell.key, cell.row.variant) for cell in study.cells}) == len(study.cells)


@pytest.fixture(scope="module")
def small_studies(tmp_path_factory):
    """Where all shipped studies are swept to: they share cells."""
    return tmp_path_factory.mktemp("shipped")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_makes_its_table(name, small_studies, overrides, monkeypatch):
    """On the tiny backbone, a step a cell; encoders and depths that it has not are left out, and long trainings."""
    monkeypatch.chdir(ROOT)
    node = compose_study([f"experiment={name}", "scale=smoke"])
    node["rows"] = {
        key: row
        for key, row in node["rows"].items()
        if "sentence_bert" not in row.get("system", "")
        and not any(of in o for o in row.get("set", []) for of in ("layers", "max_steps", "pairs_per_step"))
    }
    if node.get("against") not in node["rows"]:
        node.pop("against", None)
    node["columns"] = [column for column in node["columns"] if not column.endswith(("100", "1000"))]
    # as wide as the package's default, which studies of widths rely on
    changes = [f"experiment={name}", *overrides, "model.dim=128", "train.max_steps=1", "mining.min_users=1"]
    study = make_study(name, node, scale="smoke", overrides=changes, folder=small_studies, seeds=[0])
    sweep(study, say=lambda _: None)
    table = make_table(study)
    assert {row.name: row.status for row in table.rows} == {row.name: "" for row in study.rows}
    assert all(any(row.scores.values()) for row in table.rows)
    for column in table.columns:  # few queries may have none whose target is much seen
        assert column.startswith(("low.", "high.", "tagged.")) or any(
            row.scores[column] for row in table.rows
        ), column


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("table5", "loss.hashtag_ratio"),
        ("table6", "loss.alpha"),
        ("table2", ""),
        ("table4", ""),
        ("scaling", ""),
    ],
)
def test_rows_of_one_number_are_a_scale(tmp_path, monkeypatch, name, option):
    monkeypatch.chdir(ROOT)
    assert make_table(load_study(name, scale="smoke", folder=tmp_path)).scale_of == option
