"""Progress of long calls: the library reports through a callback, and prints nothing without one."""

import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from notellm.interrupts import finishing, stop_if_wished, tidied_before_a_hard_end
from notellm.pace import Pace, duration_text, pace_text

ProgressFn = Callable[[int, int], None]
"""Called as ``(done, total)`` now and then during a long call; an exception it raises stops the call."""

LINE_SECONDS = 10.0
"""Seconds between two lines if there is no terminal to draw a bar on."""


def part_of(progress: ProgressFn | None, before: int, total: int) -> ProgressFn:
    """The progress of a call that does a part of the whole.

    Args:
        progress: Of the whole; None for nobody.
        before: Units done before this part.
        total: Units of the whole.

    Returns:
        For the part: what it has done is added to ``before``.
    """

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(before + done, total)

    return report


class Display(ABC):
    """Shows the progress of one long call; it is the call's `ProgressFn`.

    Args:
        title: What is being done.
        unit: What is counted, in the plural.
        part: What is done at a time; empty if that is not known.

    Attributes:
        pace: Its speed.
    """

    def __init__(self, title: str, unit: str, part: str) -> None:
        self.title, self.unit, self.part = title, unit, part
        self.pace = Pace()

    def __call__(self, done: int, total: int) -> None:
        """Takes a report.

        Raises:
            KeyboardInterrupt: After Ctrl-C, see `notellm.interrupts`: at this point nothing is half-done. The caller
                should save finished work first.
        """
        self.pace.report(done, total)
        self._show()
        if self.part and done < total:
            stop_if_wished()

    @abstractmethod
    def say(self, text: str) -> None:
        """Prints a message about the call, beside its progress."""

    @abstractmethod
    def _show(self) -> None:
        """Shows the newest report."""

    def _pace(self) -> str:
        """The speed or, before it is known, what the call is waiting for."""
        if not self.pace.is_first_done:
            return f"first {self.part} ..." if self.part else "starting ..."
        return pace_text(self.pace.seconds_a_unit or 0.0, self.unit)

    def _left(self) -> str:
        left = self.pace.seconds_left()
        is_all_done = self.pace.done >= self.pace.total
        return "" if left is None or is_all_done else f"{duration_text(left)} left"


class _Silence(Display):
    def say(self, text: str) -> None:
        pass

    def _show(self) -> None:
        pass


class _Lines(Display):
    """Prints a plain line every ``LINE_SECONDS`` and one at the end."""

    def __init__(self, title: str, unit: str, part: str, stream: TextIO) -> None:
        super().__init__(title, unit, part)
        self.stream = stream
        self._last = 0.0
        self._first_is_done = threading.Event()
        self._waiting = threading.Thread(target=self._wait_for_first, name="notellm-progress", daemon=True)
        self._waiting.start()

    def say(self, text: str) -> None:
        print(f"{self.title}: {text}", file=self.stream, flush=True)

    def close(self) -> None:
        self._first_is_done.set()
        self._waiting.join()
        elapsed = self.pace.elapsed
        if self.pace.total and elapsed >= 2:
            pace = f"{self._pace()}, " if self.pace.is_first_done else ""
            self._print(f"{pace}took {duration_text(elapsed)}")

    def _show(self) -> None:
        if self.pace.is_first_done:
            self._first_is_done.set()
        if self.pace.elapsed - self._last >= LINE_SECONDS and self.pace.is_first_done:
            self._last = self.pace.elapsed
            self._print(", ".join(filter(None, (self._pace(), self._left()))))

    def _wait_for_first(self) -> None:
        """Runs on a thread, because there is no report before the first unit is done, which may take long."""
        while not self._first_is_done.wait(LINE_SECONDS):
            self._print(f"{self._pace()} {duration_text(self.pace.elapsed)} so far")

    def _print(self, text: str) -> None:
        count = f"{self.pace.done:,}/{self.pace.total:,} {self.unit}, " if self.pace.total else ""
        print(f"{self.title}: {count}{text}", file=self.stream, flush=True)


class _Bar(Display):
    """Draws a bar, ten times a second, so something is shown before the first report, too."""

    def __init__(self, title: str, unit: str, part: str, stream: TextIO) -> None:
        super().__init__(title, unit, part)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Column(self._pace, "cyan"),
            TimeElapsedColumn(),
            _Column(self._left, "green"),
        )
        self.bars = Progress(*columns, console=Console(file=stream))
        self._task = self.bars.add_task(title, total=None)

    def say(self, text: str) -> None:
        self.bars.console.print(f"{self.title}: {text}", markup=False, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Stops drawing before the process is ended, unless the main thread is drawing at this moment."""
        stopping = threading.Thread(target=self.bars.stop, daemon=True)
        stopping.start()
        stopping.join(0.2)

    def _show(self) -> None:
        self.bars.update(self._task, completed=self.pace.done, total=self.pace.total)


class _Column(ProgressColumn):
    """A text that is computed whenever the bar is drawn."""

    def __init__(self, text: Callable[[], str], style: str) -> None:
        super().__init__()
        self._text, self._style = text, style

    def render(self, task: Task) -> Text:
        return Text(self._text(), style=self._style)


@contextmanager
def console_progress(
    title: str, unit: str, stream: TextIO | None = None, *, part: str = ""
) -> Iterator[Display]:
    """Shows the progress of what runs inside: a bar on a terminal, otherwise plain lines.

    Of the processes that ``torchrun`` starts, the first shows it.

    Args:
        title: What is being done, for example ``"embedding"``.
        unit: What is counted, in the plural, for example ``"notes"``.
        stream: Where to write; standard error by default.
        part: What is done at a time and should not be interrupted, for example ``"batch"``: on the command line the
            first Ctrl-C stops after it, by a KeyboardInterrupt from the callback. Empty: it stops at once.

    Yields:
        The callback to pass to the long call; its `Display.say` prints beside the bar.

    Example:
        >>> with console_progress("mining", "notes") as report:
        ...     report(1, 2)
    """
    stop_if_wished()  # after a Ctrl-C during an earlier call, which was finished first
    display = _display(title, unit, part, stream or sys.stderr)
    with finishing(part, display.say) if part else nullcontext():
        if isinstance(display, _Bar):
            with tidied_before_a_hard_end(display.stop), display.bars:
                yield display
            return
        try:
            yield display
        finally:
            if isinstance(display, _Lines):
                display.close()


def _display(title: str, unit: str, part: str, stream: TextIO) -> Display:
    if int(os.environ.get("RANK", "0")) > 0:  # one of several processes that do the same
        return _Silence(title, unit, part)
    return (_Bar if stream.isatty() else _Lines)(title, unit, part, stream)
