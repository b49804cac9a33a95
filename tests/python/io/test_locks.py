import errno
import fcntl
import os
import socket
import sys
import threading
import time

import pytest

from notellm.app.studies.ledger import Ledger
from notellm.io.locks import holder_of, locked


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


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


def test_a_lock_says_who_holds_it(tmp_path):
    assert holder_of(tmp_path / "model") == ""
    with locked(tmp_path / "model"):
        with locked(tmp_path / "model", wait=False) as is_ours:
            assert not is_ours
        told = holder_of(tmp_path / "model")
        assert f", process {os.getpid()} on {socket.gethostname()}, since 2" in told
        assert os.path.basename(sys.argv[0]) in told
    (tmp_path / "model.lock").write_text('{"pid": 1, "left": "by a killed process"')
    assert holder_of(tmp_path / "model") == ""
    with locked(tmp_path / "model", wait=False) as is_ours:
        assert is_ours
        assert f"process {os.getpid()} on" in holder_of(tmp_path / "model")


def test_a_file_system_without_locks_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    message = "model.lock: must be locked, but: Function not implemented; try a folder on another file system"
    with pytest.raises(OSError, match=message), locked(tmp_path / "model"):
        pass
    assert names(tmp_path) == []
    with pytest.raises(OSError, match=r"ledger\.jsonl: must be locked, but: Function not implemented; try"):
        Ledger(tmp_path / "ledger.jsonl").append({"key": "a"})
