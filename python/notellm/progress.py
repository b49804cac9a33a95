"""Progress of long calls: the library reports through a callback and stays silent without one."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    TimeRemainingColumn,
)
from rich.text import Text

ProgressFn = Callable[[int, int], None]
"""Called as ``(done, total)`` now and then during a long call; what it raises stops the call."""

LINE_SECONDS = 10.0
"""Seconds between two lines where there is no terminal to draw a bar on."""


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        return Text("" if not task.speed else f"{task.speed:,.1f} {unit}/s", style="cyan")


class _Lines:
    """Prints a plain line every ``LINE_SECONDS`` and one at the end."""

    def __init__(self, title: str, unit: str, stream: TextIO) -> None:
        self.title, self.unit, self.stream = title, unit, stream
        self.begin = self.last = time.monotonic()
        self.done = self.total = 0

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        now = time.monotonic()
        if now - self.last >= LINE_SECONDS:
            self.last = now
            left = (now - self.begin) / max(done, 1) * (total - done)
            self._print(f"{self._rate(now)}, {left:.0f} s left")

    def close(self) -> None:
        now = time.monotonic()
        if self.total and now - self.begin >= 2:
            self._print(f"{self._rate(now)}, took {now - self.begin:.0f} s")

    def _rate(self, now: float) -> str:
        return f"{self.done / max(now - self.begin, 1e-9):,.1f} {self.unit}/s"

    def _print(self, text: str) -> None:
        print(f"{self.title}: {self.done:,}/{self.total:,} {self.unit}, {text}", file=self.stream, flush=True)


@contextmanager
def console_progress(title: str, unit: str, stream: TextIO | None = None) -> Iterator[ProgressFn]:
    """Shows the progress of what runs inside: a bar on a terminal, otherwise plain lines.

    Of the processes that ``torchrun`` starts, the first shows it.

    Args:
        title: What is being done, for example ``"embedding"``.
        unit: What is counted, in the plural, for example ``"notes"``.
        stream: Where to write; standard error by default.

    Yields:
        The callback to hand to the long call.

    Example:
        >>> with console_progress("mining", "notes") as report:
        ...     report(1, 2)
    """
    if int(os.environ.get("RANK", "0")) > 0:  # one of several processes that do the same
        yield lambda done, total: None
        return
    stream = stream or sys.stderr
    if not stream.isatty():
        lines = _Lines(title, unit, stream)
        try:
            yield lines
        finally:
            lines.close()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream)) as bars:
        task = bars.add_task(title, total=None, unit=unit)
        yield lambda done, total: bars.update(task, completed=done, total=total)
