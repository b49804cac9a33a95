"""URLs are read as the files that they name, and messages name them."""

import sys

import pytest

from notellm.app.config import compose
from notellm.app.pipeline.data import load_data
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes
from notellm.errors import DataError, NotSupportedError

fsspec = pytest.importorskip("fsspec")

NOTES = Notes(["a", "b"], ["Tea", "Mud"], ["Green.", "Wet."], [["drink"], []], ["food", ""])
LOG = Interactions([0, 0, 1], [0, 1, 1], ["u", "v"], ["a", "b"])


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path):
    """A folder elsewhere, with notes and a log in two parts."""
    base = f"memory://{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/far"
    NOTES.write(tmp_path / "notes.csv")
    system, place = fsspec.core.url_to_fs(base)
    system.makedirs(f"{place}/log")
    system.put_file(str(tmp_path / "notes.csv"), f"{place}/notes.csv")
    for number, rows in enumerate(("u,a\nu,b\n", "v,b\n")):
        system.pipe_file(f"{place}/log/part-{number}.csv", f"user,note\n{rows}".encode())
    return base


def test_a_file_and_a_folder_are_read(url):
    notes = Notes.read(f"{url}/notes.csv")
    assert notes == NOTES
    assert notes.report.source == f"{url}/notes.csv"
    log = Interactions.read(f"{url}/log", notes=notes)
    assert (log.users.tolist(), log.notes.tolist()) == (LOG.users.tolist(), LOG.notes.tolist())
    assert len(Interactions.read(f"{url}/log/")) == 3


def test_a_run_reads_its_data_from_there(url):
    files = [f"data.notes={url}/notes.csv", f"data.interactions={url}/log", "data.groups_column=category"]
    data = load_data(compose(["data=files", *files, "data.groups_column=title"]))
    assert (data.notes, len(data.interactions), data.groups.tolist()) == (NOTES, 3, [0, 1])


def test_messages_name_the_url_and_the_line(url):
    system, place = fsspec.core.url_to_fs(url)
    system.pipe_file(f"{place}/bad.csv", b"id,title,content,topics,category\na,,,,\na,,,,\n")
    with pytest.raises(DataError, match=f"^{url}/bad.csv:3: id must be unique"):
        Notes.read(f"{url}/bad.csv")
    system.pipe_file(f"{place}/log/part-2.csv", b"user,note\nv,x\n")
    with pytest.raises(DataError, match=f"^{url}/log/part-2.csv:2: note must be an id of the notes"):
        Interactions.read(f"{url}/log", notes=NOTES)
    system.pipe_file(f"{place}/notes.txt", b"x")
    with pytest.raises(ValueError, match=rf"^{url}/notes.txt: must end in .parquet"):
        Notes.read(f"{url}/notes.txt")
    with pytest.raises(FileNotFoundError, match=f"^{url}/none.csv: must be a file or a folder"):
        Notes.read(f"{url}/none.csv")
    with pytest.raises(FileNotFoundError, match=f"^{url}/log: must be a file, but is a folder"):
        Notes.read(f"{url}/log")


def test_what_cannot_be_fetched_is_said(monkeypatch):
    with pytest.raises(DataError, match="^gopher://x/n.csv: must be of a kind that fsspec knows"):
        Notes.read("gopher://x/n.csv")
    monkeypatch.setitem(sys.modules, "fsspec.implementations.sftp", None)
    with pytest.raises(NotSupportedError, match="^sftp://x/n.csv: .*fsspec can read, but: .*paramiko"):
        Notes.read("sftp://x/n.csv")

    class Broken(fsspec.get_filesystem_class("memory")):
        def get_file(self, *_, **__):
            raise RuntimeError("no key")

    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(DataError, match="^broken://x/n.csv: must be readable, but no key"):
        Notes.read("broken://x/n.csv")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(NotSupportedError, match="fsspec must be installed, but is not; try `pip"):
        Notes.read("s3://bucket/n.csv")
