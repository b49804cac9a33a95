"""Tells the user early that a training will take long, and what would make it shorter."""

from notellm._core.util import available_cores
from notellm.app.config import Config
from notellm.pace import duration_text, pace_text
from notellm.precision import resolve_dtype
from notellm.progress import Display

LONG_SECONDS = 30 * 60.0
"""The notice is shown if a training takes longer."""

STEPS_MEASURED = 2
"""Steps after which the duration is estimated: the first step is slower than the others."""


class LengthNotice:
    """A progress callback for training that prints once how long it will take, if that is long.

    The estimate is the time of the second step, times the steps left; it does not include an evaluation afterwards.

    Args:
        display: Shows the training; it is called first, and prints the notice.
        config: The configuration of the training.
        layers: Number of layers of its backbone that are computed.
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
    """The overrides that shorten a training: those possible in the same run, and those that need a new run.

    Args:
        config: The configuration of the training.
        layers: Number of layers of its backbone that are computed.
        steps: Number of steps that take half an hour.
    """
    train, cores = config.train, available_cores()
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
