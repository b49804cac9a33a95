"""Shared by the verbs that work in a run folder: their options, and how they open it."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from notellm._core.util import available_cores, set_num_threads
from notellm.app.config import Config, compose, load_config, override, replace, to_yaml
from notellm.app.overrides import quoted
from notellm.app.run import RunFolder, alone_in, settle_dtype
from notellm.errors import ConfigError
from notellm.precision import remark_on_speed

__all__ = [
    "add_run_arguments",
    "open_run",
    "prepare_process",
    "read_config",
    "remark_on_dtype",
    "show_config",
]

HELP = """
configuration (key=value changes a key, group=option takes another file of a group):
{groups}
  most used: run_dir=FOLDER  seed=0  threads=0  device=cpu|cuda  dtype=auto|fp32|bf16
{keys}
  --cfg prints all keys.
"""

COMMON_KEYS = {
    "data": "data.queries=400 data.pool_notes=paired|all data.pool=0 data.test_fraction=0.3",
    "mining": "mining.lower=0.01 mining.upper=30 mining.top=10 mining.min_users=1",
    "train": "train.max_steps=0 train.lr=3e-6 train.pairs_per_step=64 loss.alpha=0.01 loss.nested_dims=[16,32,64]",
    "model": "model.path=FOLDER model.dim=128 prompt.content_tokens=80",
    "evaluation": "evaluation.ks=[1,10,100,1000] evaluation.generation_notes=200",
    "embed": "embed.batch_tokens=4096 embed.dim=0 embed.storage=fp32|int8",
    "generation": "generation.hashtag_count=5 generation.max_new_tokens=32",
}
"""Some useful keys, by topic, for the help of verbs."""


def add_run_arguments(parser: argparse.ArgumentParser, *topics: str) -> None:
    """Adds the options and overrides that all verbs with a run folder take.

    Args:
        parser: The verb's parser.
        topics: Topics of ``COMMON_KEYS`` whose keys the help lists.
    """
    parser.add_argument(
        "--run",
        metavar="DIR",
        type=Path,
        help="work in this run folder; if it has a configuration, key=value changes that one",
    )
    parser.add_argument(
        "--cfg", action="store_true", help="print the resolved configuration and do nothing else"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes to the configuration, in Hydra's grammar"
    )
    groups = "\n".join(f"  {group}={'|'.join(options)}" for group, options in _options().items())
    keys = "\n".join(f"  {COMMON_KEYS[topic]}" for topic in topics)
    parser.epilog = HELP.format(groups=groups, keys=keys)


def read_config(arguments: argparse.Namespace, *defaults: str) -> Config:
    """The configuration that the arguments ask for, with ``dtype=auto`` resolved.

    Args:
        arguments: As parsed with `add_run_arguments`.
        defaults: Overrides that come before the user's.

    Raises:
        ConfigError: See `notellm.app.config.compose`.
    """
    return settle_dtype(_asked_config(arguments, *defaults))


def _asked_config(arguments: argparse.Namespace, *defaults: str) -> Config:
    if arguments.run is None:
        return compose([*defaults, *arguments.overrides])
    file = arguments.run / "config.yaml"
    names_group = any(text.partition("=")[0] in _groups() for text in arguments.overrides)
    if file.exists() and not names_group:  # with a group it is composed anew, and the folder compares the two
        config = override(load_config(file), arguments.overrides)
    else:
        config = compose([*defaults, f"name={quoted(arguments.run.resolve().name)}", *arguments.overrides])
    return replace(config, {"run_dir": str(arguments.run)})


@contextmanager
def open_run(
    arguments: argparse.Namespace, *defaults: str, looks: bool = False
) -> Iterator[RunFolder | None]:
    """Opens the run folder that the arguments ask for, joins other processes and sets the number of threads.

    While it is open no other call can open it; several processes of one call are one.

    Args:
        arguments: As parsed with `add_run_arguments`.
        defaults: Overrides that come before the user's, such as ``"experiment=demo"``.
        looks: Whether the verb only looks: nothing of it stays, unless the user names a folder.

    Yields:
        The folder, or None if the user asked only for the configuration, which is printed.

    Raises:
        ConfigError: If the configuration is wrong, or not that of the folder, or another call works in it.
    """
    from notellm.processes import Processes, first_process_first

    config = _asked_config(arguments, *defaults)
    if arguments.cfg:
        _print_config(settle_dtype(config))
        yield None
        return
    prepare_process(config)
    is_first = Processes.current().is_first
    with ExitStack() as stack:
        if looks and not _names_folder(arguments):
            folder = _made_before(config) or stack.enter_context(_in_passing(config))
            remark_on_dtype(folder.config)
            yield folder
            return
        # dtype=auto becomes what the first process has written, even if other processes have other machines
        with first_process_first():
            if is_first:
                stack.enter_context(alone_in(config.run_dir))
            folder = RunFolder.open(config, writes=is_first)
        remark_on_dtype(folder.config)
        yield folder


def _names_folder(arguments: argparse.Namespace) -> bool:
    return arguments.run is not None or any(
        text.lstrip("+").startswith("run_dir=") for text in arguments.overrides
    )


def _made_before(config: Config) -> RunFolder | None:
    """The configuration's own run folder, to be read, if a run of this very configuration is there."""
    folder = Path(config.run_dir)
    if not ((folder / "config.yaml").exists() and (folder / "data.json").exists()):
        return None  # its pairs would have to be written
    try:
        return RunFolder.open(config, writes=False)
    except ConfigError:  # of another one
        return None


@contextmanager
def _in_passing(config: Config) -> Iterator[RunFolder]:
    """A run folder that is gone afterwards."""
    with TemporaryDirectory(prefix="notellm-") as folder:
        yield RunFolder.open(replace(config, {"run_dir": folder}), writes=False)


def show_config(arguments: argparse.Namespace, config: Config, *, joins: bool = True) -> bool:
    """Prints the configuration if the user asked only for that; otherwise prepares this process for it.

    Args:
        arguments: As parsed with `add_run_arguments`.
        config: From `read_config`.
        joins: Whether several processes join, see `prepare_process`.

    Returns:
        Whether the user asked only for the configuration.

    Raises:
        ConfigError: If the configured device does not exist.
    """
    if arguments.cfg:
        _print_config(config)
        return True
    prepare_process(config, joins=joins)
    remark_on_dtype(config)
    return False


def _print_config(config: Config) -> None:
    print(to_yaml(config), end="")


def remark_on_dtype(config: Config) -> None:
    """Warns on standard error, once for all processes, if the machine does not multiply the run's dtype natively."""
    from notellm.processes import started

    remark = remark_on_speed(config.dtype, config.device)
    if remark and started().is_first:
        print(f"notellm: {remark}", file=sys.stderr)


def prepare_process(config: Config, *, joins: bool = True) -> None:
    """Joins other processes and sets the number of threads; with ``threads=0`` processes of a machine share its cores.

    Args:
        config: Its device and threads.
        joins: Whether the processes work on the same thing. Otherwise none waits for another.

    Raises:
        ConfigError: If the configured device does not exist.
    """
    from notellm.processes import join, local_count, take_device

    if config.device == "cuda":
        _check_cuda()
    (join if joins else take_device)(config.device)
    set_num_threads(config.threads or _fair_threads(local_count()))


def _fair_threads(processes: int) -> int:
    """A process's share of the cores; 0, for the environment to say, if it is alone or OMP_NUM_THREADS was set.

    torchrun sets OMP_NUM_THREADS to 1 where nobody has.
    """
    if processes == 1 or os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return 0
    return max(1, available_cores() // processes)


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            "device=cuda needs a GPU that PyTorch can use; `notellm doctor` says what is missing"
        )


def _groups() -> dict[str, list[str]]:
    """The groups of the configuration, and their options."""
    folder = Path(__file__).parents[2] / "conf"
    groups = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    return {group.name: sorted(path.stem for path in group.glob("*.yaml")) for group in groups}


def _options() -> dict[str, list[str]]:
    """The groups that offer a choice, and their options."""
    return {group: names for group, names in _groups().items() if len(names) > 1 or group == "experiment"}
