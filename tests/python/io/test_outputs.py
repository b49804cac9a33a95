import os

import pytest

from notellm.io.outputs import check_output, check_output_folder


def test_a_new_file_is_taken_and_nothing_is_left_behind(tmp_path):
    check_output(tmp_path / "new" / "deep" / "a.txt", [tmp_path, None])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_read_may_be_replaced(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    check_output(tmp_path / "a.txt", [tmp_path / "b.txt"])
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("form", ["a.txt", "sub/../a.txt", "link.txt"])
@pytest.mark.parametrize("read", ["a.txt", "."])
def test_what_is_read_is_not_replaced_whatever_it_is_called(tmp_path, monkeypatch, form, read):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("notes")
    (tmp_path / "link.txt").symlink_to("a.txt")
    with pytest.raises(ValueError, match=r"txt: must be another file than those read, but is one of them"):
        check_output(form, [read])


def test_a_folder_is_no_file_to_write(tmp_path):
    (tmp_path / "v.npy").mkdir()
    with pytest.raises(ValueError, match=r"v\.npy: must be a file, but is a folder; try another name"):
        check_output(tmp_path / "v.npy")


@pytest.mark.parametrize("name", ["a.txt/v.npy", "a.txt/deep/v.npy"])
def test_where_nothing_can_be_written_is_said_before_the_work(tmp_path, name):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(OSError, match=r"a\.txt: must be written, but: File exists"):
        check_output(tmp_path / name)


def test_a_device_or_a_pipe_is_no_file_to_write(tmp_path):
    os.mkfifo(tmp_path / "out")
    (tmp_path / "link").symlink_to("out")
    for name in ("out", "link"):
        with pytest.raises(
            ValueError, match=f"{name}: must be a file, but is a device or a pipe; try another name"
        ):
            check_output(tmp_path / name)


def test_a_link_to_where_nothing_is_yet_is_taken_and_nothing_is_left_behind(tmp_path):
    (tmp_path / "link").symlink_to("none/deep/a.txt")
    check_output(tmp_path / "link")
    check_output_folder(tmp_path / "link", [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["link"]


def test_a_folder_that_cannot_be_replaced_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"\.: must be a folder that can be replaced, but is the current one; try"
    ):
        check_output_folder(".", [])
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) == os.fspath(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    with pytest.raises(
        ValueError, match="disk: must be a folder that can be replaced, but is a mount point; try a"
    ):
        check_output_folder("disk", [])
    check_output_folder("disk/model", [])
