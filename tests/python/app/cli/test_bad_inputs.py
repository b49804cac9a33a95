"""Bad inputs of every verb: one message each that says what is wrong, exit code 2, no traceback, no half file."""

import re
import shlex

import pytest

from bad_inputs import DATA
from bad_inputs.calls import CALLS
from bad_inputs.files import CONVERTED, NOTES_FILES, VECTORS
from bad_inputs.indexes import INDEXES
from bad_inputs.logs import LOG_FILES
from bad_inputs.models import EXPORTED, GENERATED, MODELS
from bad_inputs.runs import BOMB, OVERRIDES, RUNS, STUDIES
from notellm import _core
from notellm.app import cli

NOTES = "id,title,content,topics,category\n" + "".join(f"n{i},T {i},C,tag|x,even\n" for i in range(12))
LOG = "user,note\n" + "".join(f"u{i},n{(i * 7 + k) % 12}\n" for i in range(20) for k in (0, 3, 5))
CASES = (
    NOTES_FILES
    + LOG_FILES
    + MODELS
    + VECTORS
    + (INDEXES if _core.has_faiss else [])
    + GENERATED
    + EXPORTED
    + RUNS
    + STUDIES
    + CONVERTED
)


@pytest.fixture(scope="module")
def saved(tiny_folder, tmp_path_factory):
    from notellm import NoteLLM

    path = tmp_path_factory.mktemp("saved") / "saved"
    NoteLLM.from_pretrained(tiny_folder, dim=4).save_pretrained(path)
    return path


@pytest.fixture
def there(tmp_path, tiny_folder, saved, monkeypatch):
    """A working directory with right notes, a right log, a backbone and a saved model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.csv").write_text(NOTES)
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "model").symlink_to(tiny_folder)
    (tmp_path / "saved").symlink_to(saved)
    return tmp_path


def refusal(arguments, capsys):
    """What is said on standard error, by a call that must fail."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:  # argparse
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2, said
    assert "Traceback" not in said
    return said


def contents(there):
    folders = [there, there / "model", there / "saved"]
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_there_are_enough_of_them():
    assert len(OVERRIDES) + len(CASES) + len(CALLS) >= 200


@pytest.mark.parametrize(("override", "message"), OVERRIDES, ids=[text for text, _ in OVERRIDES])
def test_a_bad_configuration_is_one_message(override, message, capsys):
    changes = override.split(" ") if " mining" in override else [override]
    said = refusal(
        ["data", "--cfg", "data=files", "data.notes=x.csv", "data.interactions=y.csv", *changes], capsys
    )
    assert message in said
    assert re.fullmatch(r"notellm: .*\n", said)


@pytest.mark.parametrize(("command", "message", "files"), CASES)
def test_a_bad_input_is_one_message(command, message, files, there, capsys):
    for name, content in files.items():
        path = there / name.replace("__", ".")
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = contents(there)
    said = refusal(shlex.split(command.format(d=DATA)), capsys)
    assert message in said
    assert contents(there).items() >= before.items()  # nothing that was there is lost
    assert said.startswith(("notellm: ", "usage: ")) or "\nnotellm: " in said
    assert not list(there.rglob("*.part"))


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_call_is_one_error(name, there):
    call, kind, message = CALLS[name]
    (there / "bomb.yaml").write_text(BOMB)
    (there / "list.yaml").write_text("- a\n")
    with pytest.raises(kind) as error:
        call(there)
    assert type(error.value) is kind  # ConfigError is a ValueError, too
    assert message in str(error.value)
