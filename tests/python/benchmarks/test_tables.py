"""The README's figures are what the records give, and only those of quiet records."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cells
import details_section
import pytest
import speed_section
import tables
from cells import Records

SCRIPTS = Path(tables.__file__).parent
MACHINE = {"cpu": "Some CPU", "cores": 2, "instruction_sets": ["AVX2"], "limits": {}}


def write(folder, name, used="avx2", **numbers):
    """A record like those that benchmarks write."""
    record = {"benchmark": name, "quiet": True, "machine": MACHINE, **numbers}
    (folder / f"{name}.{used}.json").write_text(json.dumps(record))


@pytest.fixture
def folder(tmp_path):
    """A folder of records with one of sharing, which every section needs."""
    table = {"prefixes of 4 or more, by tokens, 4096": {"saved": 0.27}}
    (tmp_path / "sharing.json").write_text(json.dumps({"table": table}))
    return tmp_path


EMBEDDING = {
    "notes": 100,
    "skipped": {"openvino_prefix_int8": "nncf is not installed"},
    "tokens_saved_by_sharing": 0.25,
    "share_of_bare_products": 0.9,
    "rounds": {
        "notellm": [10.0, 10.0, 20.0],
        "transformers": [40.0, 40.0, 40.0],
        "openvino_prefix": [20.0, 15.0, 30.0],
        "openvino_prefix_int8": [5.0, 5.0, 5.0],
        "bare_products": [9.0, 9.0, 9.0],
    },
    "agreement_with_fp32": {
        "notellm": {"ten_nearest_kept": 1.0},
        "openvino_prefix_int8": {"ten_nearest_kept": 0.91},
    },
}


def test_the_readme_is_what_the_records_give():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "tables.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"both READMEs must be what `tables.py` writes; try it\n{done.stdout}"


def test_a_figure_typed_by_hand_is_found(tmp_path):
    shutil.copytree(tables.ROOT / "benchmarks" / "results", tmp_path / "benchmarks" / "results")
    shutil.copy(tables.ROOT / "benchmarks" / "README.md", tmp_path / "benchmarks")
    readme = (tables.ROOT / "README.md").read_text()
    typed = re.sub(r"Training moves Recall@100 by \+", "Training moves Recall@100 by +1", readme)
    assert typed != readme
    (tmp_path / "README.md").write_text(typed)
    command = [sys.executable, SCRIPTS / "tables.py", "--check", "--root", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "-Training moves Recall@100 by +1" in done.stdout


def test_every_linked_record_is_there():
    for name in tables.SECTIONS:
        path = tables.ROOT / name
        links = re.findall(r"\]\(([^)#:]+\.json)\)", path.read_text())
        assert links
        assert [link for link in links if not (path.parent / link).is_file()] == []


def test_a_section_must_stand_once(folder):
    with pytest.raises(ValueError, match="<!-- begin: demo --> .* must stand once, but stand 0 times"):
        tables.write_sections("# README", tables.SECTIONS["README.md"], Records(folder))


def test_the_strongest_baseline_is_taken_with_its_rounds():
    found = cells.compare(EMBEDDING["rounds"])
    assert found.baseline == "openvino_prefix"
    assert (found.ours, found.theirs, found.low, found.high) == (10.0, 20.0, 1.5, 2.0)


def test_int8_has_a_row_of_its_own_that_says_what_it_loses(folder):
    write(folder, "embedding_fp32", **EMBEDDING)
    records = Records(folder)
    text = "\n".join(speed_section.speed_section(records) + details_section.details_section(records))
    link = "(benchmarks/results/embedding_fp32.avx2.json)"
    assert f"10.0 against 5.00 (OpenVINO, instruction kept): [**1.50 to 2.00 x**]{link}" in text
    assert "OpenVINO int8, instruction kept): [**0.25 to 0.50 x**](" in text
    assert "100 % and 91 % are kept" in text
    assert "Not measured: openvino_prefix_int8 in embedding_fp32, avx2 (nncf is not installed)." in text


def test_a_record_made_beside_other_work_is_not_shown(folder):
    write(folder, "embedding_fp32", **EMBEDDING | {"quiet": False})
    assert "embedding" not in "\n".join(speed_section.speed_table(Records(folder), ["avx2"]))


def test_an_instruction_set_without_a_record_has_an_empty_cell(folder):
    write(folder, "embedding_fp32", "avx2", **EMBEDDING)
    write(folder, "embedding_bf16", "avx512_bf16", **EMBEDDING)
    records = Records(folder)
    lines = speed_section.speed_table(records, records.sets(["embedding_fp32", "embedding_bf16"]))
    assert lines[0].startswith("|  | avx512_bf16 (Some CPU, 2 cores) | avx2 (Some CPU, 2 cores) |")
    assert lines[2].startswith("| embedding, fp32, notes/s |  | 10.0 against")
    assert any(
        line.startswith("| embedding, bf16, notes/s | 10.0 against") and line.endswith("|  |")
        for line in lines
    )


def test_rows_of_every_benchmark(folder):
    training = {
        "pairs": 8,
        "dtype": "fp32",
        "share_of_bare_products": 0.8,
        "rounds": {
            "notellm": [4.0],
            "labels_only": [9.0],
            "linear_cross_entropy": [8.0],
            "bare_products": [3.0],
        },
        "memory_above_mib": {"notellm": [100], "labels_only": [400], "linear_cross_entropy": [200]},
    }
    write(folder, "training", **training)
    write(folder, "training_lora", **training)
    write(folder, "gradcache", dtype="fp32", steps={
        "small": {"pairs_per_step": 4, "peak_mib": 100.0},
        "gradcache": {"pairs_per_step": 32, "micro_pairs": 4, "peak_mib": 105.0},
    })  # fmt: skip
    hashtags = {"notellm": [2.0], "transformers": [8.0], "ctranslate2_fp32": [4.0], "ctranslate2_int8": [1.0]}
    write(
        folder,
        "generation_fp32",
        hashtags={"notes": 8, "rounds": hashtags, "skipped": {}, "equal_outputs": {"ctranslate2_int8": 5}},
        categories={"notes": 8, "categories": 60, "rounds": {"notellm": [1.0], "transformers_prefix": [4.0]}},
    )
    write(folder, "processes", pairs=4, dtype="fp32", rounds={"1_process": [4.0], "2_processes": [5.0]})
    text = "\n".join(speed_section.speed_table(Records(folder), ["avx2"]))
    assert (
        "| joint training step, notes/s | 8 pairs, fp32: 4.00 against 2.00 (linear_cross_entropy): [**2.00 x**]("
        in text
    )
    assert "100 against 200 (linear_cross_entropy): [**0.50 x**](" in text
    assert "fp32, 32 pairs in parts of 4: 105 against 100 of a part alone: [**1.05 x**](" in text
    assert "4.00 against 2.00 (CTranslate2): [**2.00 x**](" in text
    link = "(benchmarks/results/generation_fp32.avx2.json)"
    assert f"(CTranslate2 int8): [**0.50 x**]{link}; 5 of 8 outputs equal" in text
    assert "60 names: 8.00 against 2.00 (transformers, instruction kept): [**4.00 x**](" in text
    assert "fp32: 1.60 against 2.00 (one process): [**0.80 x**](" in text


def test_a_record_that_a_benchmark_writes_is_read(folder):
    command = [sys.executable, SCRIPTS / "bench_gcl.py", "--pairs", "16", "--rounds", "2", "--output", folder]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("gcl.*.json")
    record = json.loads(path.read_text())
    assert all(len(own) == 2 for own in record["sizes"][0]["rounds"].values())
    path.write_text(json.dumps(record | {"quiet": True}))
    lines = speed_section.speed_table(Records(folder), [record["machine"]["instruction_set"]])
    assert lines[-1].startswith("| contrastive loss, 16 pairs, forward and backward |")


def test_a_build_is_compared_with_the_earlier_one(folder):
    builds = [{"all_cpu_seconds": s, "wall_seconds": s / 2, "peak_mib_of_a_job": 900} for s in (300.0, 800.0)]
    record = {"machine": MACHINE, "ours": builds[:1], "before": builds[1:], "commits": {"before": "abc"}}
    for quiet, said in ((True, "0.38 x of what it took at commit abc"), (False, "")):
        (folder / "build.json").write_text(json.dumps(record | {"quiet": quiet}))
        assert said in details_section.building(Records(folder))
    assert details_section.building(Records(folder)) == ""
