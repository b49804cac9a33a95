"""The run folder: what one configuration produced, step by step.

Verbs of the command line work in a run folder. Its ``config.yaml`` is the resolved configuration,
and ``run.json`` records commands, versions and the machine; all other files are results. Files
appear complete or not at all.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from notellm.app.config import Config, cost_keys, differences, load_config, replace, to_yaml
from notellm.errors import ConfigError
from notellm.io.json_files import read_json_object, write_json, write_text
from notellm.io.json_tree import Node
from notellm.io.locks import holder_of, locked
from notellm.loggers import About, Parent
from notellm.machine import describe_machine, versions
from notellm.models.backbone import backbone_name
from notellm.precision import AUTO, resolve_dtype

__all__ = ["RUN", "RunFolder", "alone_in", "settle_dtype"]

RUN = "run"
"""A run folder is locked under this name, by ``run.lock``, while a call works in it."""

AFTER_TRAINING = ("embed.", "evaluation.", "generation.")
"""Groups that may differ between calls on one run folder, like keys that change only costs: earlier results stay valid.

All other keys decide what was mined and trained; with another value it would be another run.
"""


@dataclass(frozen=True)
class RunFolder:
    """A run folder that is ready to be worked in.

    Attributes:
        path: The folder.
        config: Its configuration, with ``dtype=auto`` resolved.
        title: Its name where loggers show it; by default that of its configuration.
        parent: What it belongs to, such as a study.
    """

    path: Path
    config: Config
    title: str = ""
    parent: Parent | None = None

    @classmethod
    def open(
        cls,
        config: Config,
        *,
        command: Sequence[str] | None = None,
        writes: bool = True,
        title: str = "",
        parent: Parent | None = None,
    ) -> "RunFolder":
        """Opens the run folder of a configuration, and creates it if it does not exist.

        Args:
            config: The configuration; ``config.run_dir`` is the folder. ``dtype=auto`` is replaced by the folder's
                dtype, see `settle_dtype`.
            command: The user's command; by default this process's command line.
            writes: Whether to write ``config.yaml`` and ``run.json``; only one of several processes does.
            title: Its name where loggers show it; by default ``config.name``.
            parent: What it belongs to.

        Returns:
            The run folder.

        Raises:
            ConfigError: If the folder was made with another configuration (apart from keys that may differ); lists
                the keys that differ.
        """
        path, config = Path(config.run_dir), settle_dtype(config)
        if (path / "config.yaml").exists():
            _refuse_other_run(path, config)
        elif path.is_dir() and any(entry.name != f"{RUN}.lock" for entry in path.iterdir()):
            raise ConfigError(
                f"{path}: must be a run folder or empty, but holds other files; try another run_dir"
            )
        run = cls(path, config, title, parent)
        if writes:
            write_text(path / "config.yaml", to_yaml(config))
            run._record(list(command) if command is not None else _command_line())
        return run

    def file(self, name: str) -> Path:
        """The path of one of the folder's files."""
        return self.path / name

    @property
    def about(self) -> About:
        """What loggers are told of it."""
        name = self.title or self.config.name
        return About(name, self.path, self.config.to_dict(), parent=self.parent)

    def _record(self, command: list[str]) -> None:
        """Writes run.json: the first call in full, later ones as a list."""
        path, now = self.file("run.json"), datetime.now(UTC).isoformat(timespec="seconds")
        call = {"command": shlex.join(command), "started": now}
        if path.exists():
            record = read_json_object(path, finite=True)
            record["calls"] = [*(known.value for known in Node(record, str(path)).list("calls")), call]
        else:
            record = call | {
                "seed": self.config.seed,
                "versions": versions(),
                "machine": describe_machine(self.config.device),
                "threads": self.config.threads,
                "model": backbone_name(self.config.model.path, self.config.model.layers),
                "dtype": self.config.dtype,
                "calls": [call],
            }
        write_json(path, record)


@contextmanager
def alone_in(path: str | Path) -> Iterator[None]:
    """Locks a run folder while this call works in it; other calls are refused and do not wait.

    Args:
        path: The folder; made if it is not there.

    Raises:
        ConfigError: If another call works in it; says which.
        OSError: If the folder cannot be written to.
    """
    with locked(Path(path) / RUN, wait=False) as is_ours:
        if not is_ours:
            who = holder_of(Path(path) / RUN) or "another"
            raise ConfigError(
                f"{path}: one call at a time must work in a run folder, but {who} does; wait for its end, or try "
                "another run_dir"
            )
        yield


def settle_dtype(config: Config) -> Config:
    """The configuration with ``dtype=auto`` resolved: the dtype of its run folder, or otherwise of `resolve_dtype`."""
    if config.dtype != AUTO:
        return config
    file = Path(config.run_dir) / "config.yaml"
    try:
        kept = load_config(file).dtype if file.exists() else AUTO
    except ConfigError:  # `RunFolder.open` reports it; a verb that only reads another model need not
        kept = AUTO
    return replace(config, {"dtype": resolve_dtype(kept, config.device)})


def _refuse_other_run(path: Path, config: Config) -> None:
    before = load_config(path / "config.yaml")
    changes = differences(before, config)
    if before.dtype == AUTO:  # a file written by hand: no run has begun
        changes.pop("dtype", None)
    changes.pop("run_dir", None)  # the folder may have been moved
    free = cost_keys()
    fixed = {
        key: values
        for key, values in changes.items()
        if key not in free and not key.startswith(AFTER_TRAINING)
    }
    if fixed:
        listed = "; ".join(f"{key} was {old!r}, is now {new!r}" for key, (old, new) in fixed.items())
        raise ConfigError(
            f"{path}: must be called with the configuration it was made with, but {listed}; try another "
            "run_dir for the new one"
        )


def _command_line() -> list[str]:
    return ["notellm", *sys.argv[1:]]
