import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from notellm.io import files
from notellm.io.files import atomic_folder, atomic_write, locked, scratch_folder


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


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_a_killed_writer_left_goes_with_the_next_success(tmp_path, is_folder):
    def left(pid, host=None):
        entry = tmp_path / f".a.{host or socket.gethostname()}-{pid}-0123abcd.part"
        entry.mkdir() if is_folder else entry.write_text("half")
        return entry.name

    left(dead_pid())
    kept = [left(os.getpid()), left(dead_pid(), "elsewhere")]
    (tmp_path / ".a.part").write_text("not ours")
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([".a.part", "a", *kept])


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


def test_a_scratch_folder_is_gone_afterwards(tmp_path):
    with scratch_folder(tmp_path / "deep" / "model") as scratch:
        (scratch / "download").write_text("x")
        assert scratch.parent == tmp_path / "deep"
        with atomic_folder(tmp_path / "deep" / "model"):
            pass
        assert scratch.exists()
    assert names(tmp_path / "deep") == ["model"]


def test_a_lock_lets_one_in_at_a_time(tmp_path):
    inside, most = [], []

    def enter():
        for _ in range(20):
            with locked(tmp_path / "deep" / "model"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert names(tmp_path / "deep") == []
    with pytest.raises(ValueError, match="inside"), locked(tmp_path / "model"):
        raise ValueError("inside")
    assert names(tmp_path) == ["deep"]


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
