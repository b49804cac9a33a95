"""What a console shows of a long call, on a terminal and elsewhere."""

import io
import re
import time

import pytest

from notellm import progress
from notellm.progress import console_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def quick(monkeypatch):
    """Lines come as soon as there is something to say."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)


def shown(stream):
    """What a terminal was told, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())


def test_lines_say_what_is_waited_for_before_the_first_step(quick):
    stream = io.StringIO()
    with console_progress("training", "steps", stream, part="step") as report:
        report(0, 60)
        time.sleep(0.3)
        assert re.search(r"^training: 0/60 steps, first step \.\.\. \d s so far$", stream.getvalue(), re.M)
        report(1, 60)
        time.sleep(0.1)  # a line may be under way
        before = stream.getvalue().count("so far")
        time.sleep(0.2)
        assert stream.getvalue().count("so far") == before


def test_lines_speak_before_the_first_report(quick):
    stream = io.StringIO()
    with console_progress("backbone", "MiB", stream):
        time.sleep(0.3)
    assert "backbone: starting ... 0 s so far\n" in stream.getvalue()


def test_lines_say_seconds_a_step_and_the_time_left_from_the_second_on(quick, monkeypatch):
    stream = io.StringIO()
    with console_progress("training", "steps", stream, part="step") as report:
        now = time.monotonic()
        monkeypatch.setattr(report.pace, "_clock", lambda: now)
        for seconds, done in [(0, 0), (50, 1), (62.5, 2)]:
            now = report.pace._begin + seconds
            report(done, 60)
    lines = stream.getvalue().splitlines()
    assert lines[-3] == "training: 1/60 steps, 50.0 s a step"
    assert lines[-2] == "training: 2/60 steps, 12.5 s a step, 12 min left"
    assert lines[-1] == "training: 2/60 steps, 12.5 s a step, took 62 s"


def test_a_bar_says_the_same(monkeypatch):
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "200")
    with console_progress("training", "steps", stream, part="step") as report:
        report(0, 60)
        report.bars.refresh()
        assert "first step ..." in shown(stream)
        now = time.monotonic()
        monkeypatch.setattr(report.pace, "_clock", lambda: now)
        for seconds, done in [(50, 1), (62.5, 2)]:
            now = report.pace._begin + seconds
            report(done, 60)
        report.bars.refresh()
        assert re.search(r"2/60 12\.5 s a step \S+ 12 min left", shown(stream))
        report.say("by the way [not markup]")
    assert "training: by the way [not markup]" in shown(stream)


def test_of_several_processes_the_first_shows_it(quick, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    stream = io.StringIO()
    with console_progress("training", "steps", stream) as report:
        report(0, 60)
        time.sleep(0.1)
        report.say("nothing")
    assert stream.getvalue() == ""


def test_a_call_that_fails_leaves_no_thread_behind(quick):
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), console_progress("training", "steps", stream):
        raise ZeroDivisionError
    before = stream.getvalue()
    time.sleep(0.15)
    assert stream.getvalue() == before
