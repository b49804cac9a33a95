"""What documents say of the studies is what the records give: a number or a rank that was changed is found."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from notellm.evaluation import Verdict

ROOT = Path(__file__).parents[3]
DECLARED = {
    "experiments/README.md.j2": {
        "0",  # r, alpha, and no difference
        "0, 0.001, 0.01, 0.1, 1, 10",
        "0, 20, 40, 60, 80, 100",
        "0, 40 and 100",
        "0.01",
        "0.01, 1 and 10",
        "0.5",
        "1",  # alpha
        "1 - ln(rank) / ln(pool)",
        "10",  # alpha
        "100",
        "12",  # the release of Debian
        "257,937",
        "40",
        "5",  # percent: the chance that a verdict of a table is wrong
        "7B",
        "80",  # percent: the chance of what "could be seen"
        "95",
        "billion",
    },
    "experiments/summary.md.j2": {
        "0",
        "0.01",
        "0.5",
        "10",
        "257,937",
        "40",
        "95",
    },  # alpha, r, the margin, the paper's pool, the level of intervals
}
"""All numbers that no record gives: of the paper, of rows, and of how verdicts are made."""


@pytest.fixture(scope="module")
def loaded():
    """Studies that have been read: their folders are relative, so they show what is in the current directory."""
    return {}


@pytest.fixture
def records(findings, loaded):
    def make():
        return findings.Records(loaded)

    return make


LEDGER = Path("experiments/results/laptop/ledger.jsonl")


def entries():
    return [json.loads(line) for line in LEDGER.read_text().splitlines()]


def metrics_of(row):
    (found,) = [entry["metrics"] for entry in entries() if entry["row"] == row]
    return found


def page(findings, records):
    """The page as it must be, and all files that are not as they must be."""
    found = list(findings.documents(records()))
    return found[0][2], [name for name, old, new in found if old != new]


@pytest.fixture(scope="module")
def found(findings, loaded):
    """Documents and tables of the repository, and the pictures that they show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        records = findings.Records(loaded)
        return list(findings.documents(records)), records.pictures()


@pytest.fixture(scope="module")
def documents(found):
    return found[0]


def test_documents_and_tables_are_what_the_records_give(documents):
    names = {name for name, _, _ in documents}
    found = [path for kind in ("md", "csv") for path in ROOT.glob(f"experiments/results/**/*.{kind}")]
    tables = {str(path.relative_to(ROOT)) for path in found}
    assert names == {"README.md", "experiments/README.md"} | tables
    assert len(tables) == 34
    differ = [name for name, old, new in documents if old != new]
    assert differ == [], "try `python tools/findings.py --write` and read what has changed"


def test_pictures_are_drawn_of_the_records(found, monkeypatch):
    monkeypatch.chdir(ROOT)
    current = {str(picture.path): picture.is_current for picture in found[1]}
    assert all(current.values()), "try `python tools/findings.py --write` and look at what has changed"
    drawn = {str(path.relative_to(ROOT)) for path in ROOT.glob("experiments/results/**/*.svg")}
    unkept = "experiments/results/laptop/table2_map.svg"  # of vectors, which are not kept
    assert drawn - current.keys() == {unkept}


def test_a_number_of_the_readme_that_was_changed_is_found(findings, documents, tmp_path, monkeypatch, capsys):
    """Whichever it is: here one of the first findings and one of the last."""
    made = {name: new for name, _, new in documents}
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(made[name])
    monkeypatch.setattr(
        findings, "documents", lambda _: [(n, Path(n).read_text(), new) for n, new in made.items()]
    )
    monkeypatch.setattr(sys, "argv", ["findings.py", "--root", str(tmp_path)])
    monkeypatch.chdir(tmp_path)

    def status():
        with pytest.raises(SystemExit) as ended:
            findings.main()
        return bool(ended.value.code)

    assert not status()
    for number in ("+33.4", "-11.8 (-15.8", "| -5.8 ("):
        name = "README.md" if number.startswith("|") else "experiments/README.md"
        text = made[name]
        assert number in text
        Path(name).write_text(text.replace(number, number.replace("8", "9").replace("33.4", "33.5")))
        assert status()
        assert "+++ records\n" in capsys.readouterr().out
        Path(name).write_text(text)


def test_numbers_that_no_record_gives_are_declared(findings):
    for path, declared in DECLARED.items():
        source = (ROOT / path).read_text()
        assert list(findings.typed_numbers(findings.ENVIRONMENT, source)) == []
        found = findings.declared_numbers(findings.ENVIRONMENT, source)
        assert {number for number, _ in found} == declared
        assert all(len(reason) > 3 for _, reason in found)


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("NoteLLM has 74.4 %.", "NoteLLM has 74.4 %."),
        ("NoteLLM has {{ 74.4 }} %.", "{{ 74.4 }}"),
        ('{{ "74.4" if study else "" }}', "{{ 74.4 }}"),
        ("{% set found = 74.4 %}{{ found }}", "{{ 74.4 }}"),
        ("{{ 74.4|string }}", "{{ 74.4 }}"),
        ("Run with three seeds.", "Run with three seeds."),
        ("From {{ x }}, 5 points.", "From {}, 5 points."),
    ],
)
def test_a_number_typed_into_a_template_is_found(findings, source, number):
    assert list(findings.typed_numbers(findings.ENVIRONMENT, source)) == [number]


def test_names_with_digits_are_no_numbers(findings):
    source = (
        '`lr=2e-4` Recall@100 of [Table 2](a/table2.md), Tables 2\nto 4, BM25, ROUGE-L, int8: {{ s.mean("a", "mrr") }}'
        '{{ s.means(r100)[2] }} {{ "%s" % s.difference("a", "recall@10") }}\n```\nsleep 3\n```\n'
    )
    assert list(findings.typed_numbers(findings.ENVIRONMENT, source)) == []


def test_a_page_is_made_of_the_records(findings, records, copied):
    text, differ = page(findings, records)
    found = metrics_of("alpha_10")
    csv = Path("experiments/results/laptop/table6.csv").read_text()
    (low, high, verdict) = re.search(r"alpha = 10,recall@100,.*?,1,.*?,(.*?),(.*?),.*?,(\w+)", csv).groups()
    assert f"at alpha = 10 has {100 * found['recall@100']:.1f} %: +0.8" in text
    assert f"({float(low):+.1f} to {float(high):+.1f}; not decided)" in text
    assert verdict == "undecided"
    assert differ == ["page.md"]


def change_ranks(row, change):
    (key,) = {e["key"] for e in entries() if e["row"] == row and not e["searched"]}
    path = Path(f"experiments/results/laptop/{key}/ranks.safetensors")
    with safe_open(path, framework="pt") as file:
        tensors, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors["trained.greater"])
    save_file(tensors, path, metadata=about)


def test_one_rank_that_was_changed_is_found_though_no_digit_moves(findings, records, copied):
    before, _ = page(findings, records)

    def one_further(greater):
        place = int(torch.argmax(greater))
        greater[place] += (
            1  # beyond every cut-off: it moves only the mean reciprocal rank, by less than a hundred-millionth
        )

    change_ranks("alpha_10", one_further)
    with pytest.raises(ValueError, match=r"mrr is 0\.\d+ by what it keeps and 0\.\d+ in the ledger"):
        page(findings, records)
    found = findings.rendered(Path("page.md.j2").read_text(), records(), findings.Claims())
    assert found == before


TABLE = Path("experiments/results/laptop/table6.csv")


@pytest.mark.parametrize(
    ("change", "is_found"),
    [
        (lambda text: text.replace("undecided", "higher", 1), True),
        (
            lambda text: re.sub(
                r"(alpha = 10,recall@100,\d+\.)(\d)", lambda m: f"{m[1]}{9 - int(m[2])}", text
            ),
            True,
        ),
        (lambda text: text.rpartition("alpha = 10")[0], True),
        (lambda text: re.sub(r"(\.\d{12})\d+", r"\g<1>", text), False),
    ],
    ids=["verdict", "number", "row", "last digits"],
)
def test_a_number_of_a_csv_table_that_was_changed_is_found(change, is_found, findings, records, copied):
    """The last digits are the processor's: they tell nothing, and are not written anew."""
    page(findings, records)
    text = TABLE.read_text()
    assert change(text) != text
    TABLE.write_text(change(text))
    _, differ = page(findings, records)
    assert differ == ["page.md"] + [str(TABLE)] * is_found


def test_many_changed_ranks_change_the_text(findings, records, copied):
    before, _ = page(findings, records)
    change_ranks("alpha_10", lambda greater: greater.add_(1000))
    after = findings.rendered(Path("page.md.j2").read_text(), records(), findings.Claims())
    assert after != before
    assert "; lower)" in after


def test_a_claim_that_no_longer_holds_is_found(findings, records, copied):
    lines = entries()
    for entry in lines:
        if entry["row"] == "alpha_10":
            entry["metrics"]["accuracy"] = 0.0
    LEDGER.write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    with pytest.raises(
        ValueError, match=r"page.md.j2: these claims must hold, .*: accuracy grows with alpha"
    ):
        page(findings, records)


def test_a_study_without_a_ledger_may_wait(findings, records, copied):
    source = '{% set later = study("table4", scale="gpu") %}{% if later %}{{ later.seeds("notellm") }}{% endif %}soon'
    assert findings.rendered(source, records(), findings.Claims()) == "soon\n"


def append_run(study, row, **entry):
    """A line in the ledger of a study's folder, as the run of a row leaves it."""
    cell = next(cell for cell in study.cells if cell.row.key == row)
    done = {
        "key": cell.key,
        "study": study.name,
        "row": row,
        "status": "done",
        "finished": "2026",
        "seconds": 1,
    }
    study.ledger.append(done | entry)


def test_a_study_waits_though_its_folder_has_runs_of_another(findings, records, copied):
    from notellm.app.studies import load_study

    source = '{% if study("table6", "smoke") %}run{% else %}{{ not_run(["table6", "scaling"], "smoke") }}{% endif %}'
    folder = "experiments/results"
    other, own = (load_study(name, scale="smoke", folder=folder) for name in ("scaling", "table6"))
    append_run(other, "base")
    append_run(other, "layers_5", status="failed")
    assert findings.rendered(source, records(), findings.Claims()) == "['table6', 'scaling']\n"
    append_run(other, "layers_5")
    assert findings.rendered(source, records(), findings.Claims()) == "['table6']\n"
    append_run(own, "alpha_0.01")
    assert findings.rendered(source, records(), findings.Claims()) == "['table6']\n"
    append_run(own, "alpha_1")
    assert findings.rendered(source, records(), findings.Claims()) == "run\n"


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ({}, "They have not been run yet."),
        ({"levers": ["base", "steps_240"]}, "powered_csft, powered_prompts,"),
        ({"scaling": ["base", "layers_5"]}, "They have not been run yet."),
        ({"powered_csft": ["popularity", "alpha_0"]}, "They have not been run yet."),
        ({"powered_csft": ["alpha_0", "notellm"]}, "powered_prompts, powered_sentence_bert,"),
        ({"powered_sentence_bert": ["sentence_bert", "notellm"]}, "powered_pool, levers have not"),
    ],
    ids=["nothing", "one of them", "another", "no comparison", "a row of others, too", "rows of others"],
)
def test_the_readme_says_which_studies_of_powered_have_been_run(ran, said, findings, records, copied):
    from notellm.app.studies import load_study

    shutil.rmtree("experiments/results/powered", ignore_errors=True)
    text = (ROOT / "experiments/README.md.j2").read_text()
    (source,) = re.findall(r"Their outcomes were chosen.*?\{% endif %\}", text, re.DOTALL)
    for name, rows in ran.items():
        study = load_study(name, scale="powered", folder="experiments/results")
        for row in rows:
            append_run(study, row)
    found = " ".join(findings.rendered(source, records(), findings.Claims()).split())
    assert said in found
    assert not any(name in found for name in ran)


def test_exposure_compares_little_with_much_seen_targets(records, copied):
    study = records().study("table6")
    found = study.exposure("alpha_1", 10)
    metrics = metrics_of("alpha_1")
    low, high = metrics["low.recall@10"], metrics["high.recall@10"]
    assert found.found.difference.value == pytest.approx(100 * (low - high))
    counts = [study.queries("alpha_1", f"{side}.recall@10") for side in ("low", "high")]
    error = 100 * sum(p * (1 - p) / n for p, n in zip((low, high), counts, strict=True)) ** 0.5
    ends = found.found.difference
    assert ends.high - ends.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_two_rows_have_one_difference(records, copied):
    """Whichever comes first: that of the study's own table, whose verdicts are corrected for its comparisons."""
    study = records().study("table6")
    for column in ("recall@100", "recall@10"):
        forth = study.difference("alpha_1", column)
        back = study.difference("alpha_0.01", column, against="alpha_1")
        assert back.found.difference == tuple(
            -x for x in (forth.value, forth.high, forth.found.difference.low)
        )
        assert back.verdict == forth.verdict
    is_higher = replace(forth, found=replace(forth.found, verdict=Verdict.HIGHER))
    assert (is_higher.reversed("a").verdict, is_higher.reversed("a").reversed("b").verdict) == (
        "lower",
        "higher",
    )


def test_markers_must_be_there(findings, records, copied, monkeypatch):
    monkeypatch.setattr(findings, "PAGES", {"page.md": ("page.md.j2", findings.BETWEEN_MARKERS)})
    with pytest.raises(ValueError, match=r"page.md: must hold the lines <!-- begin: findings -->"):
        page(findings, records)
    Path("page.md").write_text(f"Before.\n{findings.BEGIN}old\n{findings.END}After.\n")
    text, _ = page(findings, records)
    assert text.startswith(f"Before.\n{findings.BEGIN}NoteLLM at")
    assert text.endswith(f".\n{findings.END}After.\n")


def test_only_paragraphs_are_filled(findings, records):
    source = (
        "# A\nB\n{{ 'word ' * 40 }}\n\n| a |\n|---|\n| {{ 'b' * 130 }} |\n\nC:\n```\nx\n\ny   z\n```\nD\nE\n"
    )
    found = findings.rendered(source, records(), findings.Claims())
    assert found.startswith("# A\nB\nword word")
    ends = findings.rendered("word " * 23 + "seed 0. For - rows", records(), findings.Claims())
    assert ends == ("word " * 23).strip() + "\nseed 0. For - rows\n"
    assert "| " + "b" * 130 + " |\n\nC:\n```\nx\n\ny   z\n```\nD" in found
