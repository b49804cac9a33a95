"""Says in time that a training will be long, and what would make it shorter."""

import os

from notellm.app.config import Config
from notellm.pace import duration_text, pace_text
from notellm.precision import resolve_dtype
from notellm.progress import Display

LONG_SECONDS = 30 * 60.0
"""A training that takes longer is announced."""

STEPS_MEASURED = 2
"""Steps after which it is known: the first one is slower than those to come."""


class LengthNotice:
    """The callback of a training that, once, says how long it will be if that is long.

    The time is that of the second step, times the steps left; the evaluation that may come after it is not in it.

    Args:
        display: Shows the training; it is called first, and prints the notice.
        config: What is trained.
        layers: Of its backbone, as they are computed.
    """

    def __init__(self, display: Display, config: Config, layers: int) -> None:
        self.display, self.config, self.layers = display, config, layers
        self.is_due = True
        self._begin: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Takes a report of steps done."""
        if self._begin is None:
            self._begin = done
        self.display(done, total)
        if self.is_due and done >= self._begin + STEPS_MEASURED:
            self.is_due = False
            self._tell(total - done)

    def _tell(self, steps: int) -> None:
        left, each = self.display.pace.seconds_left(), self.display.pace.seconds_a_unit
        if left is None or each is None or left <= LONG_SECONDS:
            return
        steps_of_half_an_hour = int(LONG_SECONDS / each) or 1
        self.display.say(
            f"{duration_text(left)} to go ({steps:,} steps, {pace_text(each, 'steps')}); Ctrl-C keeps what is done; "
            f"shorter {what_shortens(self.config, self.layers, steps_of_half_an_hour)}"
        )


def what_shortens(config: Config, layers: int, steps: int) -> str:
    """The overrides that shorten a training: those that the same run may go on with, and those that make another.

    Args:
        config: What is trained.
        layers: Of its backbone, as they are computed.
        steps: How many fit into half an hour.
    """
    train, cores = config.train, len(os.sched_getaffinity(0))
    same, other = [], [f"train.max_steps={steps} (half an hour)"]
    if config.device == "cpu" and 0 < config.threads < cores:
        same.append(f"threads={cores}")
    if train.micro_pairs:
        same.append("train.micro_pairs=0 (more memory)")
    if train.checkpoint_layers:
        same.append("train.checkpoint_layers=false (more memory)")
    if train.pairs_per_step >= 8:
        other.append(f"train.pairs_per_step={train.pairs_per_step // 2} (half the work a step)")
    if layers >= 4:
        other.append(f"model.layers={layers // 2} (half the model)")
    if config.prompt.content_tokens >= 32:
        other.append(f"prompt.content_tokens={config.prompt.content_tokens // 2}")
    if (dtype := resolve_dtype(device=config.device)) != config.dtype:
        other.append(f"dtype={dtype}")
    ways = [f"with {', '.join(same)}"] if same else []
    return " or ".join([*ways, f"in another run_dir with {', '.join(other)}"])
