import importlib
import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from notellm.app import cli
from notellm.app.cli import main
from notellm.app.commands import generate
from notellm.app.config import load_config
from notellm.data import Notes
from notellm.errors import DataError
from notellm.io.json_files import read_json
from notellm.vector_files import save_embeddings

NOTES = "id,title,content,topics,category,family\n" + "".join(
    f"n{i},Title {i},Content {i},{'tag|x' if i % 2 else ''},{'even' if i % 2 == 0 else 'odd'},f{i // 2}\n"
    for i in range(40)
)
LOG = "user,note\n" + "".join(f"u{i},n{(i * 7 + k) % 40}\n" for i in range(60) for k in (0, 3, 9, 14))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working directory with a notes table and a log; the overrides that name them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.csv").write_text(NOTES)
    (tmp_path / "log.csv").write_text(LOG)
    return ["data=files", "data.notes=notes.csv", "data.interactions=log.csv", "data.ordered=false"]


def test_help_lists_every_verb(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"  notellm {verb}" in text  # an example
    assert (
        importlib.import_module(f"notellm.app.commands.{verb.replace('-', '_')}").__doc__.splitlines()[0]
        in text
    )


def test_help_imports_no_verb_and_nothing_heavy():
    code = "import sys; from notellm.app import cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    heavy = "'notellm.app.commands', 'notellm.app.pipeline', 'notellm._core', 'torch', 'numpy', 'hydra', 'sklearn'"
    code += f"print(sorted(m for m in sys.modules if m.startswith(({heavy}))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_an_unknown_verb_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["mnie"])
    assert stop.value.code == 2
    assert "invalid choice: 'mnie'" in capsys.readouterr().err


def test_cfg_prints_what_the_core_reads_and_touches_nothing(files, tmp_path, capsys):
    assert cli.main(["mine", "--cfg", "loss.alpha=0.5", *files]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert load_config(tmp_path / "printed.yaml").loss.alpha == 0.5
    assert not (tmp_path / "runs").exists()


def test_data_says_what_is_there(files, capsys):
    assert cli.main(["data", *files]) == 0
    text = capsys.readouterr().out
    assert "40 notes: 28 for training, 12 for test" in text
    assert "20 have hashtags; 2 categories" in text
    assert "240 events of 60 baskets" in text


def test_what_only_looks_leaves_no_run_folder_where_none_is_named(files, tmp_path, capsys, tiny_folder):
    small = [*files, f"model.path={tiny_folder}", "model.dim=8", "model.layers=0", "train.pairs_per_step=4"]
    for changes in ([], ["data.test_fraction=0.5"], ["mining.top=5"]):
        for verb in ("data", "show-prompt"):
            assert cli.main([verb, *small, *changes]) == 0, capsys.readouterr().err
    assert "contrastive loss" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    for named in (["--run", "one"], ["run_dir=two"]):
        assert cli.main(["data", *small, *named]) == 0
        folder = tmp_path / named[-1].removeprefix("run_dir=")
        assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "run.json"]
    refused = ["data", *small, "--run", "one", "mining.top=5"]
    assert cli.main(refused) == 2
    assert "must be called with the configuration it was made with" in capsys.readouterr().err


def test_a_run_of_the_configuration_is_looked_at_and_left_as_it_is(files, tmp_path, capsys, tiny_folder):
    small = [*files, f"model.path={tiny_folder}", "model.dim=8", "model.layers=0", "train.pairs_per_step=4"]
    small += ["train.max_steps=1", "train.lr=1e-2", "train.lr_head=1e-1", "train.loggers=[jsonl]"]
    assert cli.main(["show-prompt", *small]) == 0
    untrained = capsys.readouterr().out
    assert cli.main(["train", *small]) == 0
    capsys.readouterr()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/run").rglob("*")}
    assert cli.main(["show-prompt", *small]) == 0
    trained = capsys.readouterr().out
    assert trained != untrained
    assert cli.main(["show-prompt", *small, "mining.top=5"]) == 0
    assert cli.main(["show-prompt", *small, "evaluation.ks=[1]"]) == 0
    assert capsys.readouterr().out.endswith(trained)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/run").rglob("*")} == made


def test_mine_writes_pairs_and_their_description(files, tmp_path, capsys):
    assert cli.main(["mine", *files, "data.groups_column=family", "run_dir=out"]) == 0
    found = read_json(tmp_path / "out" / "data.json")
    parts = ("pairs_train", "pairs_test", "pairs_within_groups_left_out", "pairs_across_the_split_left_out")
    assert sum(found[part] for part in parts) == found["pairs_mined"] > 0
    assert found["groups"] == 20
    before = (tmp_path / "out" / "pairs.parquet").stat().st_mtime_ns
    assert cli.main(["mine", "--run", "out"]) == 0  # everything is there: nothing is mined again
    assert (tmp_path / "out" / "pairs.parquet").stat().st_mtime_ns == before
    assert [call["command"].split()[0] for call in read_json(tmp_path / "out" / "run.json")["calls"]] == [
        "notellm"
    ] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mining.lowr=1"], "notellm: mining.lowr=1: unknown key mining.lowr; did you mean mining.lower?"),
        (
            ["data=files", "data.notes=absent.csv", "data.interactions=absent.csv"],
            "absent.csv: must be a file",
        ),
        (["device=tpu"], "notellm: device must be cpu or cuda, but is 'tpu'"),
    ],
)
def test_errors_of_the_user_are_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["mine", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_errors_of_ours_keep_their_traceback(monkeypatch):
    from notellm.app.commands import doctor

    def fail(arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(doctor, "run", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["doctor"])


def test_ctrl_c_says_how_to_go_on(monkeypatch, capsys):
    from notellm.app.commands import doctor

    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "run", interrupt)
    assert cli.main(["doctor", "--json"]) == 130
    assert "`notellm doctor --json` goes on" in capsys.readouterr().err


def test_a_run_folder_may_have_any_name(files, tmp_path):
    name = "it's ${HOME} \\ here"
    assert cli.main(["mine", "--run", name, *files]) == 0
    assert load_config(tmp_path / name / "config.yaml").run_dir == name
    assert cli.main(["mine", "--run", name, "threads=1"]) == 0
    assert load_config(tmp_path / name / "config.yaml").threads == 1


def test_doctor_speaks_json():
    # in a process of its own: packages that other tests load bring OpenMP libraries of theirs
    command = [sys.executable, "-m", "notellm.app.cli", "doctor", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)}
    assert findings["PyTorch"]["state"] == "ok"
    assert findings["OpenMP"]["value"].startswith("1 loaded: ")


def in_latin_1(monkeypatch):
    """Standard output in an encoding that has bytes for few characters; reads what was written to it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)

    def written():
        stream.flush()
        return stream.buffer.getvalue().decode("latin-1")

    return written


def test_characters_that_an_output_has_no_bytes_for_are_escaped(monkeypatch):
    from notellm.app.commands import doctor

    monkeypatch.setattr(doctor, "run", lambda _: print("53.0\u201359.3 caf\u00e9"))
    written = in_latin_1(monkeypatch)
    assert cli.main(["doctor"]) == 0
    assert written() == "53.0\\u201359.3 caf\u00e9\n"


def test_lines_of_json_are_json_in_any_encoding(monkeypatch):
    from notellm.app import pipeline
    from notellm.app.commands import doctor

    row = {"id": "n", "title": "\u9762\u6761 caf\u00e9", "category": "", "hashtags": []}
    monkeypatch.setattr(pipeline, "label", lambda *_: [row])
    workshop = SimpleNamespace(describer=lambda: None)
    monkeypatch.setattr(doctor, "run", lambda _: generate._write_one(None, [], workshop, {}, ""))
    written = in_latin_1(monkeypatch)
    assert cli.main(["doctor"]) == 0
    assert json.loads(written()) == row


def test_options_and_overrides_may_come_in_any_order(capsys):
    assert main(["train", "train.max_steps=3", "--cfg", "loss.alpha=0.5"]) == 0
    printed = capsys.readouterr().out
    assert "max_steps: 3" in printed
    assert "alpha: 0.5" in printed


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ("notes.txt", "must end in .parquet, .csv or .jsonl"),
        ("folder.jsonl", "folder.jsonl"),
    ],
)
def test_what_the_library_refuses_is_one_line(tmp_path, notes, message, capsys):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder.jsonl").mkdir()
    command = ["convert", "columns", "--items", str(tmp_path / notes), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_what_is_nobody_s_fault_but_ours_shows_where_it_happened(monkeypatch):
    from notellm.app.commands import doctor

    def fail(arguments):
        raise ValueError("too many values to unpack (expected 2)")

    monkeypatch.setattr(doctor, "run", fail)
    with pytest.raises(ValueError, match="too many values"):
        main(["doctor"])


@pytest.mark.parametrize(
    "content",
    [
        b"food\ncraft\n",
        b"food\r\ncraft\r\n",
        b"food\rcraft\r",
        b"\xef\xbb\xbffood\r\n\r\n craft",
        b"\xef\xbb\xbffood\n\xef\xbb\xbfcraft\n",
    ],
)
def test_names_in_a_file_are_those_that_an_editor_shows(tmp_path, content):
    (tmp_path / "names.txt").write_bytes(content)
    assert generate._lines(tmp_path / "names.txt") == ["food", "craft"]


def test_names_are_in_the_normal_form_of_notes(tmp_path):
    (tmp_path / "names.txt").write_text("cafe\u0301\n")
    assert generate._lines(tmp_path / "names.txt") == ["caf\u00e9"]


def test_names_in_utf_16_without_a_mark_are_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes("food".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"names\.txt: must be UTF-8, but holds NUL bytes, as in UTF-16"):
        generate._lines(tmp_path / "names.txt")


def test_names_in_another_encoding_are_refused_with_their_line(tmp_path):
    (tmp_path / "names.txt").write_bytes("food\ncaf\u00e9".encode("cp1252"))
    with pytest.raises(
        DataError, match=r"names\.txt:2: must be UTF-8, but byte 8 is not; try to save it as UTF-8"
    ):
        generate._lines(tmp_path / "names.txt")


def test_ids_that_cannot_be_written_are_refused_before_anything_is_loaded(tmp_path, capsys):
    Notes(["a\nz"], ["t"], ["c"], [[]], [""]).write(tmp_path / "n.parquet")
    call = ["embed", "--notes", str(tmp_path / "n.parquet"), "--output", str(tmp_path / "v.npy")]
    assert cli.main([*call, "--model", str(tmp_path / "none")]) == 2
    assert "ids in a text file must be without line breaks" in capsys.readouterr().err


def test_ids_with_line_breaks_keep_to_their_cells(tmp_path, capsys):
    save_embeddings(tmp_path / "v.safetensors", ["a\nz", "b\tc"], torch.eye(2))
    assert cli.main(["neighbours", "--vectors", str(tmp_path / "v.safetensors"), "--id=a\nz", "-k", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["a\\nz\t1\tb\\tc\t0.0000"]
