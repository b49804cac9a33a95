"""Ctrl-C, by real signals to real processes whose main thread is deep in a call."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from notellm import interrupts
from notellm.app.cli import main
from notellm.interrupts import answered, finishing, stop_if_wished
from notellm.loggers.json_lines import read_log

SLACK = 4.0
"""Seconds that a busy machine may take longer than promised."""

DEEP_CALL = """
import ctypes, sys, time
from pathlib import Path

def deep_call(seconds, mark):
    # Like a long call into the core: without the GIL, and no signal ends it: POSIX has a mutex wait on.
    # The mark says that it has begun.
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    end = time.time() + seconds
    until = (ctypes.c_long * 2)(int(end), int(end % 1 * 1e9))
    libc.pthread_mutex_lock(mutex)
    Path(mark).touch()
    libc.pthread_mutex_timedlock(mutex, until)
"""

SLOW_STEP = """
from notellm.training.step import JointStep
backward = JointStep.backward

def slow(self, plan, step):
    if step == 2:
        deep_call(SECONDS, MARK)
    return backward(self, plan, step)

JointStep.backward = slow
"""

SLOW_CHECKPOINT = """
from notellm.training import checkpoint
save_file = checkpoint.save_file

def slow(tensors, path):
    save_file(tensors, path)
    deep_call(SECONDS, MARK)

checkpoint.save_file = slow
"""

SLOW_BATCHES = """
from notellm.progress import Display
call = Display.__call__

def slow(self, done, total):
    call(self, done, total)
    if self.title == "embedding":
        deep_call(SECONDS, MARK)

Display.__call__ = slow
"""

SLOW_READING = """
from notellm.app.commands import doctor
doctor.run = lambda arguments: deep_call(SECONDS, MARK)
"""


class Command:
    """The command line in a process of its own, slowed down by some patch."""

    def __init__(self, folder, patch, seconds, *arguments):
        self.mark = folder / f"mark-{time.monotonic_ns()}"
        code = f"SECONDS, MARK = {seconds}, {str(self.mark)!r}\n{DEEP_CALL}{patch}\n"
        code += "from notellm.app.cli import main\nsys.exit(main())"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # a test run in the background may have been told to ignore Ctrl-C, and so would its children
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stderr as stream:
            for line in stream:
                self.said += line

    def wait_for(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.01)

    def ctrl_c(self):
        self.process.send_signal(signal.SIGINT)

    def wait(self):
        """Its exit code, once all that it has said is read."""
        code = self.process.wait(60)
        self._reader.join()
        return code


@pytest.fixture(scope="module")
def training(overrides):
    """Four steps, of which no checkpoint is due."""
    return [*overrides, "dtype=fp32", "threads=1", "train.checkpoint_every=100"]


@pytest.fixture(scope="module")
def whole(folder, training):
    """A run that nobody interrupted."""
    assert main(["train", "--run", str(folder / "whole"), *training]) == 0
    return folder / "whole"


def assert_goes_on(path, whole, training):
    assert main(["train", "--run", str(path), *training]) == 0
    found, wanted = (load_file(run / "model" / "model.safetensors") for run in (path, whole))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert [[r["loss"] for r in read_log(run / "train.jsonl")] for run in (path, whole)] == [
        [r["loss"] for r in read_log(whole / "train.jsonl")]
    ] * 2


def stop_twice(command):
    """The first Ctrl-C is answered, the second ends the process within two seconds."""
    command.ctrl_c()
    command.wait_for(lambda: "again to stop now" in command.said, 1 + SLACK)
    begin = time.monotonic()
    command.ctrl_c()
    assert command.wait() == 130
    assert time.monotonic() - begin < 2 + SLACK


def parts(folder):
    return [path.name for path in folder.rglob("*.part")]


def test_the_first_ctrl_c_finishes_the_step_and_keeps_it(folder, training, whole):
    path = folder / "once"
    command = Command(folder, SLOW_STEP, 3, "train", "--run", path, *training)
    command.wait_for(command.mark.exists)
    command.ctrl_c()
    command.wait_for(lambda: "training: finishing this step; again to stop now\n" in command.said, 1 + SLACK)
    assert command.process.poll() is None  # it answered amid the step
    assert command.wait() == 130
    assert f"notellm: stopped; nothing is half-written, and `notellm train --run {path}" in command.said
    assert [entry.name for entry in (path / "checkpoints").iterdir()] == ["step-0000003"]
    assert len(read_log(path / "train.jsonl")) == 3
    assert_goes_on(path, whole, training)


def test_the_second_ctrl_c_stops_amid_the_step(folder, training, whole):
    path, every_step = folder / "twice", [*training, "train.checkpoint_every=1"]
    command = Command(folder, SLOW_STEP, 60, "train", "--run", path, *every_step)
    command.wait_for(command.mark.exists)
    stop_twice(command)
    assert "goes on from what is kept" in command.said
    assert [entry.name for entry in (path / "checkpoints").iterdir()] == ["step-0000002"]
    assert parts(path) == []
    assert_goes_on(path, whole, every_step)


def test_both_at_once_are_two(folder, training):
    path = folder / "hasty"
    command = Command(folder, SLOW_STEP, 60, "train", "--run", path, *training)
    command.wait_for(command.mark.exists)
    begin = time.monotonic()
    command.ctrl_c()
    time.sleep(0.01)
    command.ctrl_c()
    assert command.wait() == 130
    assert time.monotonic() - begin < 2 + SLACK


def test_a_checkpoint_being_written_is_finished_by_the_first(folder, training):
    path = folder / "written"
    command = Command(
        folder, SLOW_CHECKPOINT, 1, "train", "--run", path, *training, "train.checkpoint_every=1"
    )
    command.wait_for(command.mark.exists)
    command.ctrl_c()
    command.wait_for(lambda: "training: finishing this file; again to stop now\n" in command.said, 1 + SLACK)
    assert command.wait() == 130
    assert [entry.name for entry in (path / "checkpoints").iterdir()] == ["step-0000001"]
    assert len(list((path / "checkpoints" / "step-0000001").iterdir())) == 3


def test_a_checkpoint_being_written_is_gone_after_the_second(folder, training, whole):
    path, every_step = folder / "unwritten", [*training, "train.checkpoint_every=1"]
    command = Command(folder, SLOW_CHECKPOINT, 60, "train", "--run", path, *every_step)
    command.wait_for(command.mark.exists)
    assert len(parts(path)) == 1
    stop_twice(command)
    assert list((path / "checkpoints").iterdir()) == []
    assert_goes_on(path, whole, every_step)


def test_embedding_stops_behind_the_batch(folder, whole):
    output, notes = folder / "vectors.safetensors", folder / "notes.parquet"
    arguments = ["embed", "--run", whole, "--notes", notes, "--output", output, "embed.batch_tokens=200"]
    command = Command(folder, SLOW_BATCHES, 1, *arguments)
    command.wait_for(command.mark.exists)
    command.ctrl_c()
    command.wait_for(lambda: "embedding: finishing this batch; again to stop now\n" in command.said, 0.9)
    begin = time.monotonic()
    assert command.wait() == 130
    assert time.monotonic() - begin < 2 + SLACK  # not all of the batches
    assert not output.exists()
    assert parts(folder) == []


def test_elsewhere_it_says_that_it_stops_if_that_takes_time(tmp_path):
    command = Command(tmp_path, SLOW_READING, 1, "doctor")
    command.wait_for(command.mark.exists)
    command.ctrl_c()
    command.wait_for(lambda: "notellm: stopping; again to stop now\n" in command.said, 0.9)
    assert command.wait() == 130
    assert "`notellm doctor` goes on" in command.said


def test_elsewhere_the_second_stops_too(tmp_path):
    command = Command(tmp_path, SLOW_READING, 60, "doctor")
    command.wait_for(command.mark.exists)
    command.ctrl_c()
    time.sleep(0.5)
    begin = time.monotonic()
    command.ctrl_c()
    assert command.wait() == 130
    assert time.monotonic() - begin < 2 + SLACK
    assert "`notellm doctor` goes on" in command.said


@pytest.fixture
def python_s_own():
    """Ctrl-C as Python has it when a program begins."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    """Ctrl-C, and time enough for the thread to answer."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)


def test_a_wish_waits_for_the_place_to_stop(python_s_own, capsys):
    with answered("last words"), finishing("batch"):
        press()
        with pytest.raises(KeyboardInterrupt):
            stop_if_wished()
        stop_if_wished()  # once is enough
    assert "finishing this batch; again to stop now" in capsys.readouterr().err


def test_the_innermost_unit_is_finished_and_the_outermost_stops(python_s_own):
    said = []
    with answered("last words"):
        with finishing("step", said.append), finishing("file", then_stop=True):
            press()
        assert said == ["finishing this file; again to stop now"]
        with pytest.raises(KeyboardInterrupt), finishing("file", then_stop=True):
            pass


def test_a_third_does_not_disturb_the_tidying_up(python_s_own):
    with answered("last words"):
        try:
            with finishing("step"):
                press()
                press()
                time.sleep(0.2)
                pytest.fail("the second must stop")
        except KeyboardInterrupt:
            press()


def test_handlers_of_others_stay(python_s_own):
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    with answered("last words"), finishing("step"):
        press()
        assert heard == [1]
        stop_if_wished()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with answered("last words"):
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), finishing("step"):  # outside of the command line
        press()


def test_other_threads_have_no_signals():
    def run():
        with answered("last words"), finishing("step"):
            seen.append(interrupts._answers)

    seen = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [None]


def test_work_that_is_done_is_kept_before_it_stops(python_s_own, tmp_path):
    from notellm.io.files import atomic_write
    from notellm.progress import console_progress

    with answered("last words"):
        with console_progress("embedding", "notes", io.StringIO(), part="batch") as report:
            report(0, 2)
            press()
            report(2, 2)
        with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "vectors") as temporary:
            temporary.write_text("all")
        assert (tmp_path / "vectors").read_text() == "all"


def test_the_next_call_does_not_begin(python_s_own):
    from notellm.progress import console_progress

    with answered("last words"):
        with console_progress("embedding", "notes", io.StringIO(), part="batch") as report:
            press()
            report(2, 2)
        with (
            pytest.raises(KeyboardInterrupt),
            console_progress("embedding", "notes", io.StringIO(), part="batch"),
        ):
            pytest.fail("it must not begin")
