"""Ctrl-C on the command line: the first one ends a long call where nothing is lost, the second one ends the process.

Python runs a signal's handler between two of its own instructions, so during a long call into the core, or into
PyTorch, it would not run: nothing would answer. Here the interpreter also writes the signal's number to a pipe, which
it does at once, and a thread of ours that waits there speaks, and counts.

1. The first Ctrl-C inside `finishing` only leaves a wish, which is met at the next `stop_if_wished`, between two steps;
   elsewhere it raises KeyboardInterrupt at once, as ever.
2. The second raises KeyboardInterrupt wherever the main thread is. If that has not ended the process by `DEADLINE`
   seconds, since the main thread is deep in a call, the thread does, once what is being written is out of the way.

All this holds within `answered` alone, which the command line calls. Elsewhere, as in a notebook, a library's signals
are its user's: `finishing` and `stop_if_wished` do nothing there.
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
"""Exit code after Ctrl-C, as shells have it."""

DEADLINE = 0.6
"""Seconds from the second Ctrl-C until the process is ended whatever it is doing; its memory takes a while to free."""

PATIENCE = 0.25
"""Seconds that the main thread has to stop by itself before the first Ctrl-C is answered outside `finishing`."""

SHOW_CURSOR = "\x1b[?25h"  # progress bars hide it

Say = Callable[[str], None]


def _say_below(text: str) -> None:
    """Prints below the ^C that the terminal has echoed."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)
    print(f"\nnotellm: {text}", file=sys.stderr, flush=True)


class Answers:
    """What has been asked by Ctrl-C, and the thread that answers.

    Args:
        last_words: What is said when the thread ends the process.
        is_silent: Whether another process of the same run speaks.

    Attributes:
        must_stop: Whether there have been two.
    """

    def __init__(self, last_words: str, is_silent: bool) -> None:
        self.last_words, self.is_silent = last_words, is_silent
        self.at_hand: list[tuple[str, Say | None]] = []  # what is being finished, innermost last
        self.is_wished = False
        self.must_stop = False
        self._ending = threading.Lock()
        self._has_ended = threading.Event()
        # once for the first and once for the second: a third must not disturb the tidying up
        self._raised: set[bool] = set()
        self._has_raised = threading.Event()

    def begin(self) -> None:
        """Takes over Ctrl-C."""
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._thread = threading.Thread(target=self._wait, name="notellm-interrupts", daemon=True)
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread.start()

    def end(self) -> None:
        """Gives Ctrl-C back."""
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
        """Runs on the main thread, between two instructions: sooner or later."""
        if self.at_hand and not self.must_stop:
            self.is_wished = True
        elif self.must_stop not in self._raised:
            self._raised.add(self.must_stop)
            self._has_raised.set()
            raise KeyboardInterrupt

    def _wait(self) -> None:
        """Runs on the thread: reads a byte a signal, and 0 at the end."""
        asked = 0
        while number := os.read(self._reading, 1)[0]:
            if number != signal.SIGINT:  # of handlers that somebody else has set
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
        # the handler may have run for both signals before we knew of the second
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
            with suppress(Exception):  # the terminal may be gone: words must not keep anything from ending
                say(text)


_answers: Answers | None = None
_before_a_hard_end: list[Callable[[], None]] = []


@contextmanager
def answered(last_words: str, *, is_silent: bool = False) -> Iterator[Answers]:
    """Has Ctrl-C answered as this module says while the body runs.

    Where Ctrl-C is somebody else's already (ignored, handled, waited for by an event loop), or this is not the main
    thread, the body just runs.

    Args:
        last_words: What is said where the process must be ended amid a call.
        is_silent: Whether nothing is said: of several processes of a run one speaks.

    Yields:
        What has been asked, also afterwards.
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
    """The first Ctrl-C in the body only leaves a wish; the body, or what comes after it, calls `stop_if_wished`.

    Args:
        unit: What is finished first: ``"step"``, ``"batch"``, ``"file"``.
        say: Called, on a thread of ours, with the answer to the user; default: that of the `finishing` around this
            one, or printing to standard error.
        then_stop: Whether the wish is met right behind the body, unless another `finishing` is around it.

    Raises:
        KeyboardInterrupt: If so.
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
    """To be called where stopping loses nothing.

    Raises:
        KeyboardInterrupt: If there has been a Ctrl-C inside `finishing` since.
    """
    if _answers is not None:
        _answers.stop_if_wished()


def before_a_hard_end(tidy: Callable[[], None]) -> None:
    """Has something called right before the process is ended amid a call, on a thread of ours; it must be quick."""
    _before_a_hard_end.append(tidy)


@contextmanager
def tidied_before_a_hard_end(tidy: Callable[[], None]) -> Iterator[None]:
    """The same for as long as the body runs."""
    _before_a_hard_end.append(tidy)
    try:
        yield
    finally:
        _before_a_hard_end.remove(tidy)
