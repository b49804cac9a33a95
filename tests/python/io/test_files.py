import errno
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from notellm.io import files
from notellm.io.files import atomic_folder, atomic_write, scratch_folder
from notellm.io.write_errors import append_whole


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def write_half(path):
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def fill_half(path, **options):
    with atomic_folder(path, **options) as temporary:
        (temporary / "file").write_text("half")
        raise KeyboardInterrupt


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def test_a_failing_body_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_gets_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_what_safetensors_makes_is_as_readable_as_any_new_file(umask, tmp_path):
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "a") as temporary:
            save_file({"a": torch.ones(2)}, temporary)
        with atomic_folder(tmp_path / "model") as temporary:
            (temporary / "deep").mkdir(0o700)
            save_file({"a": torch.ones(2)}, temporary / "deep" / "a")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "model" / "deep" / "a"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    for path in (tmp_path / "model", tmp_path / "model" / "deep"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~umask


def fill(path, write):
    with atomic_folder(path, replace=True) as temporary:
        write(temporary / "file")


def fill_file(path, write):
    with atomic_write(path) as temporary:
        write(temporary)


def save_numbers(path, numbers):
    with path.open("wb") as file:
        np.save(file, numbers)


WRITERS = {
    "text": lambda path: path.write_text("x" * 9000),
    "safetensors": lambda path: save_file({"a": torch.ones(3000)}, path),
    "numpy": lambda path: save_numbers(path, np.ones(3000)),
}


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(write, is_folder, tmp_path, file_size_limit):
    path = tmp_path / "thing"
    make = fill if is_folder else fill_file
    make(path, lambda temporary: temporary.write_text("old"))
    with (
        file_size_limit(5000),
        pytest.raises(OSError, match="thing: must be written, but: (File|No)") as error,
    ):
        make(path, write)
    assert re.search(r"(too large|on device); nothing is half-written; free some space$", str(error.value))
    assert ((path / "file") if is_folder else path).read_text() == "old"
    assert names(tmp_path) == ["thing"]


def test_an_error_that_is_not_about_writing_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="source"), atomic_write(tmp_path / "thing"):
        (tmp_path / "source").read_text()


@pytest.mark.parametrize("make", [fill, fill_file])
def test_a_read_only_folder_is_one_sentence_before_the_work(make, tmp_path, monkeypatch):
    """Played, since a superuser may write anywhere."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", ".thing.part")

    monkeypatch.setattr(type(tmp_path), "mkdir" if make is fill else "touch", refuse)
    with pytest.raises(PermissionError, match="must be written, but: Permission denied; .*another fold"):
        make(tmp_path / "thing", lambda _: pytest.fail("no work must begin"))


def test_what_is_appended_is_whole_or_not_there(tmp_path, file_size_limit):
    path = tmp_path / "lines"
    with path.open("ab", buffering=0) as file:
        append_whole(file.fileno(), b"first\n", path)
        with (
            file_size_limit(100),
            pytest.raises(OSError, match="lines: must be written, but: File too large"),
        ):
            append_whole(file.fileno(), b"x" * 1000, path)
        append_whole(file.fileno(), b"second\n", path)
    assert path.read_text() == "first\nsecond\n"


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_a_killed_writer_left_goes_with_the_next_success(tmp_path, is_folder):
    def left(pid, host=None):
        entry = tmp_path / f".a.{host or socket.gethostname()}-{pid}-0123abcd.part"
        entry.mkdir() if is_folder else entry.write_text("half")
        return entry.name

    left(dead_pid())
    left(os.getpid())  # of a process with this number before this one: a container was started again
    kept = [left(os.getppid()), left(dead_pid(), "elsewhere")]
    (tmp_path / ".a.part").write_text("not ours")
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([".a.part", "a", *kept])


def refuses(monkeypatch, name, number, is_refused):
    """Lets a function of the system fail for what is to be refused, as other file systems do."""
    real = getattr(os, name)

    def called(what, *arguments):
        if is_refused(what):
            raise OSError(number, os.strerror(number))
        return real(what, *arguments)

    monkeypatch.setattr(files.os, name, called)


def is_folder(descriptor):
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSUP])
def test_what_is_complete_stays_where_folders_cannot_be_synchronised(tmp_path, monkeypatch, number):
    refuses(monkeypatch, "fsync", number, is_folder)
    fill(tmp_path / "model", lambda path: path.write_text("x"))
    fill_file(tmp_path / "a", lambda path: path.write_text("x"))
    assert names(tmp_path) == ["a", "model"]
    assert names(tmp_path / "model") == ["file"]


def test_a_folder_that_may_be_written_but_not_read_is_no_obstacle(tmp_path, monkeypatch):
    refuses(monkeypatch, "open", errno.EACCES, lambda path: path == tmp_path)
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda _: (_ for _ in ()).throw(PermissionError(13, "no")))
    fill_file(tmp_path / "a", lambda path: path.write_text("x"))
    assert (tmp_path / "a").read_text() == "x"


def test_a_file_or_a_folder_that_is_not_on_the_disk_is_an_error(tmp_path, monkeypatch):
    refuses(monkeypatch, "fsync", errno.EINVAL, lambda descriptor: not is_folder(descriptor))
    with pytest.raises(OSError, match="Invalid argument"):
        fill_file(tmp_path / "a", lambda path: path.write_text("x"))
    monkeypatch.undo()
    refuses(monkeypatch, "fsync", errno.EIO, is_folder)
    with pytest.raises(OSError, match="Input/output error"):
        fill(tmp_path / "model", lambda path: path.write_text("x"))
    assert names(tmp_path) == []


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file").write_text("x")
        assert not path.exists()
    assert (path / "deep" / "file").read_text() == "x"
    assert names(tmp_path) == ["model"]


def test_a_failing_body_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fill_half(tmp_path / "model")
    assert names(tmp_path) == []


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "model").mkdir()
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "file").write_text("x")
    assert names(tmp_path / "model") == ["file"]


def test_a_folder_with_files_is_kept_unless_it_may_be_replaced(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("x")
    with pytest.raises(FileExistsError, match="must be empty or absent"), atomic_folder(path):
        pass
    assert names(path) == ["old"]
    with pytest.raises(KeyboardInterrupt):
        fill_half(path, replace=True)
    assert names(path) == ["old"]
    with atomic_folder(path, replace=True) as temporary:
        (temporary / "new").write_text("y")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "far").mkdir()
    for name in ("a", "model", "new"):
        (tmp_path / name).symlink_to(f"far/{name}")
    for _ in range(2):
        fill_file(tmp_path / "a", lambda path: path.write_text("x"))
        fill(tmp_path / "model", lambda path: path.write_text("x"))
        with scratch_folder(tmp_path / "new"):
            fill(tmp_path / "new", lambda path: path.write_text("x"))
            assert len(names(tmp_path / "far")) == 4
    assert all((tmp_path / name).is_symlink() for name in ("a", "model", "new"))
    assert names(tmp_path) == ["a", "far", "model", "new"]
    assert names(tmp_path / "far") == ["a", "model", "new"]
    assert names(tmp_path / "far" / "model") == ["file"]


def test_a_link_that_a_killed_writer_left_is_removed_alone(tmp_path):
    (tmp_path / "far").mkdir()
    left = tmp_path / f".a.{socket.gethostname()}-{dead_pid()}-0123abcd.part"
    left.symlink_to("far")
    fill_file(tmp_path / "a", lambda path: path.write_text("x"))
    assert names(tmp_path) == ["a", "far"]


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_device_or_a_pipe_is_no_file_to_replace(tmp_path, kind):
    path = tmp_path / "out"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(os.devnull)
    with pytest.raises(ValueError, match="out: must be a file, but is a device or a pipe; try another name"):
        fill_file(path, lambda _: pytest.fail("no work must begin"))
    assert names(tmp_path) == ["out"]
    assert not path.is_file()


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_work(tmp_path, monkeypatch):
    def refused(path, what):
        with pytest.raises(
            ValueError, match=f"must be a folder that can be replaced, but is {what}; try a folder"
        ):
            fill(path, lambda _: pytest.fail("no work must begin"))

    monkeypatch.chdir(tmp_path)
    refused(".", "the current one")
    refused(tmp_path / "none" / "..", "the current one")
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) == os.fspath(tmp_path / "disk"))
    refused(tmp_path / "disk", "a mount point")
    refused(tmp_path / "link", "a mount point")
    fill(tmp_path / "link" / "model", lambda path: path.write_text("x"))
    assert names(tmp_path / "disk") == ["model"]


def test_a_scratch_folder_is_gone_afterwards(tmp_path):
    with scratch_folder(tmp_path / "deep" / "model") as scratch:
        (scratch / "download").write_text("x")
        assert scratch.parent == tmp_path / "deep"
        with atomic_folder(tmp_path / "deep" / "model"):
            pass
        assert scratch.exists()
    assert names(tmp_path / "deep") == ["model"]


def abandoned_amid(path):
    with atomic_folder(path) as temporary:
        (temporary / "file").write_text("half")
        files._abandon_all()  # as before the end of the process
        files._placing.release()
        assert names(path.parent) == []
        (temporary / "next").write_text("more")


def test_what_is_abandoned_is_removed_out_of_its_writer_s_sight(tmp_path, monkeypatch):
    """Else a writer who adds a file while the folder is emptied keeps it from going."""
    remove, seen = shutil.rmtree, []

    def watched(folder, **options):
        seen.append(names(tmp_path))
        remove(folder, **options)

    monkeypatch.setattr(files, "_temporary_name", lambda path: path.with_name(f".{path.name}.before00.part"))
    monkeypatch.setattr(shutil, "rmtree", watched)
    with pytest.raises(FileNotFoundError):
        abandoned_amid(tmp_path / "model")
    assert [".model.before00.part"] not in seen
    assert len(seen) == 1
    assert names(tmp_path) == []


def test_after_the_end_nothing_is_begun(tmp_path):
    def write():
        with atomic_write(tmp_path / "a") as temporary:
            temporary.write_text("whole")

    files._abandon_all()
    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    assert names(tmp_path) == []
    files._placing.release()
    writer.join()
    assert names(tmp_path) == ["a"]
