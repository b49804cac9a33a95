"""What tests of the findings share: the tool, and a copy of the results to change."""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PAGE = """\
{% set table6 = study("table6") %}
NoteLLM at alpha = {{ literal("10", "its row") }} has {{ table6.score("alpha_10", "recall@100") }} %: {{
table6.difference("alpha_10", "recall@100") }}.
{% do holds(table6.mean("alpha_10", "accuracy") > table6.mean("alpha_0", "accuracy"), "accuracy grows with alpha") %}
"""


@pytest.fixture(scope="module")
def findings():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        import findings

        yield findings


@pytest.fixture
def copied(findings, tmp_path, monkeypatch):
    """A copy of the results, to be in, with a page that says little."""
    monkeypatch.chdir(tmp_path)
    for name in ("conf", "results"):
        unkept = shutil.ignore_patterns(
            "first", "model*", "checkpoints", "embeddings"
        )  # large, and may be in use
        shutil.copytree(ROOT / "experiments" / name, f"experiments/{name}", ignore=unkept)
    Path("page.md.j2").write_text(PAGE)
    Path("page.md").write_text("")
    monkeypatch.setattr(findings, "PAGES", {"page.md": ("page.md.j2", findings.WHOLE)})
    return tmp_path
