"""Ctrl-C on the command line: the first one stops a long call where nothing is lost, the second ends the process.

Python runs a signal handler only between two of its own instructions, so during a long call into the core or PyTorch
there would be no reaction. But the interpreter also writes the signal's number to a pipe, and this happens at once; a
thread of this module reads the pipe, answers the user and counts the signals.

1. The first Ctrl-C inside `finishing` is only recorded as a wish, and takes effect at the next `stop_if_wished`,
   between two steps; elsewhere it raises KeyboardInterrupt at once, as usual.
2. The second raises KeyboardInterrupt wherever the main thread is. If the process has not ended after `DEADLINE`
   seconds, because the main thread is inside a long call, the thread ends it, after removing unfinished files.

All this holds only within `answered`, which the command line uses. Elsewhere, for example in a notebook, signals belong
to the user of the library: there `finishing` and `stop_if_wished` do nothing.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = [
    "INTERRUPTED",
    "Answers",
    "answered",
    "before_a_hard_end",
    "finishing",
    "stop_if_wished",
    "tidied_before_a_hard_end",
]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""

DEADLINE = 0.6
"""Seconds from the second Ctrl-C until the process is ended in any case; freeing its memory takes time, too."""

PATIENCE = 0.25
"""Outside `finishing`: seconds the main thread has to stop by itself before the first Ctrl-C is answered."""

SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it

Say = Callable[[str], None]


def _say_below(text: str) -> None:
    """Prints below the ^C that the terminal shows."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)
    print(f"\nnotellm: {text}", file=sys.stderr, flush=True)


class Answers:
    """The Ctrl-C signals so far, and the thread that answers them.

    Args:
        last_words: Message when the thread ends the process.
        is_silent: Whether to print nothing, since another process of the same run does.

    Attributes:
        must_stop: Whether there have been two signals.
    """

    def __init__(self, last_words: str, is_silent: bool) -> None:
        self.last_words, self.is_silent = last_words, is_silent
        self.at_hand: list[tuple[str, Say | None]] = []  # what is being finished, innermost last
        self.is_wished = False
        self.must_stop = False
        self._ending = threading.Lock()
        self._has_ended = threading.Event()
        # once for the first and once for the second: a third must not disturb the clean-up
        self._raised: set[bool] = set()
        self._has_raised = threading.Event()

    def begin(self) -> None:
        """Starts handling Ctrl-C."""
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._thread = threading.Thread(target=self._wait, name="notellm-interrupts", daemon=True)
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread.start()

    def end(self) -> None:
        """Restores the earlier handling of Ctrl-C."""
        with self._ending:  # for good, if the thread is about to end the process
            self._has_ended.set()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, self._before)
        os.write(self._writing, b"\0")
        self._thread.join()
        os.close(self._reading)
        os.close(self._writing)

    def stop_if_wished(self) -> None:
        """See `stop_if_wished` below."""
        if self.is_wished and threading.current_thread() is threading.main_thread():
            self.is_wished = False
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Runs on the main thread, between two instructions, possibly much later."""
        if self.at_hand and not self.must_stop:
            self.is_wished = True
        elif self.must_stop not in self._raised:
            self._raised.add(self.must_stop)
            self._has_raised.set()
            raise KeyboardInterrupt

    def _wait(self) -> None:
        """Runs on the thread: reads one byte per signal, and 0 at the end."""
        asked = 0
        while number := os.read(self._reading, 1)[0]:
            if number != signal.SIGINT:  # of handlers that other code has set
                continue
            asked += 1
            if asked == 1:
                self._answer_first()
            elif asked == 2:
                self._answer_second()

    def _answer_first(self) -> None:
        at_hand = self.at_hand.copy()
        if at_hand:
            say = next((say for _, say in reversed(at_hand) if say), _say_below)
            self._speak(say, f"finishing this {at_hand[-1][0]}; again to stop now")
        elif not self._has_raised.wait(PATIENCE):
            self._speak(_say_below, "stopping; again to stop now")

    def _answer_second(self) -> None:
        self.must_stop = True
        # the handler may have run for both signals before this thread read the second
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        threading.Thread(target=self._end_at_deadline, name="notellm-deadline", daemon=True).start()

    def _end_at_deadline(self) -> None:
        self._has_ended.wait(DEADLINE)
        with self._ending:
            if self._has_ended.is_set():
                return
            for tidy in _before_a_hard_end.copy():
                with suppress(Exception):
                    tidy()
            self._speak(_say_below, self.last_words)
            os._exit(INTERRUPTED)

    def _speak(self, say: Say, text: str) -> None:
        if not self.is_silent:
            with suppress(Exception):  # the terminal may be gone: a message must not prevent the end
                say(text)


_answers: Answers | None = None
_before_a_hard_end: list[Callable[[], None]] = []


@contextmanager
def answered(last_words: str, *, is_silent: bool = False) -> Iterator[Answers]:
    """Handles Ctrl-C as described in this module while the body runs.

    If other code handles Ctrl-C already (it is ignored, has a handler, or an event loop waits for it), or this is not
    the main thread, the body just runs.

    Args:
        last_words: Message if the process must be ended during a call.
        is_silent: Whether to print nothing: only one of several processes of a run prints.

    Yields:
        The signals so far; it can still be read afterwards.
    """
    global _answers
    answers = Answers(last_words, is_silent)
    if _answers is not None or not _is_ours_to_handle():
        yield answers
        return
    _answers = answers
    answers.begin()
    try:
        yield answers
    finally:
        answers.end()
        _answers = None


def _is_ours_to_handle() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    waiting = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(waiting)
    return waiting == -1


@contextmanager
def finishing(unit: str, say: Say | None = None, *, then_stop: bool = False) -> Iterator[None]:
    """The first Ctrl-C in the body is only recorded; the body, or code after it, calls `stop_if_wished`.

    Args:
        unit: What is finished first: ``"step"``, ``"batch"``, ``"file"``.
        say: Called, on another thread, with the answer to the user; default: that of the enclosing `finishing`, or
            printing to standard error.
        then_stop: Whether to stop right after the body if there was a signal, unless another `finishing` encloses it.

    Raises:
        KeyboardInterrupt: If it stops.
    """
    answers = _answers
    if answers is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    answers.at_hand.append((unit, say))
    try:
        yield
    finally:
        answers.at_hand.pop()
    if then_stop and not answers.at_hand:
        answers.stop_if_wished()


def stop_if_wished() -> None:
    """Stops if the user has asked for it; to be called where stopping loses nothing.

    Raises:
        KeyboardInterrupt: If there was a Ctrl-C inside `finishing`.
    """
    if _answers is not None:
        _answers.stop_if_wished()


def before_a_hard_end(tidy: Callable[[], None]) -> None:
    """Registers a quick function to call, on another thread, right before the process is ended during a call."""
    _before_a_hard_end.append(tidy)


@contextmanager
def tidied_before_a_hard_end(tidy: Callable[[], None]) -> Iterator[None]:
    """The same while the body runs."""
    _before_a_hard_end.append(tidy)
    try:
        yield
    finally:
        _before_a_hard_end.remove(tidy)
