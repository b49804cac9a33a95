"""The configuration of a run: Hydra composes it from the groups of options that the library's functions take.

Only the application knows configurations; the library's functions take groups, or plain arguments.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from notellm._core import options as _core
from notellm._core.options import EmbedOptions, GenerationOptions, MiningOptions, Option, OptionGroup
from notellm.app.composing import composed_tree
from notellm.app.hydra_errors import of_a_value
from notellm.app.overrides import parsed_overrides
from notellm.data.options import DataOptions
from notellm.errors import ConfigError
from notellm.evaluation.options import EvaluationOptions
from notellm.hard_negatives import HardNegativeOptions
from notellm.io.home import expanded
from notellm.io.json_tree import shortened
from notellm.losses import nested_dims_fault
from notellm.models.adapter import LoraOptions
from notellm.models.options import ModelOptions
from notellm.options import Options, made, option, read_options
from notellm.prompts.config import PromptConfig
from notellm.training.options import SEED, LossOptions, OptimizationOptions

__all__ = [
    "Config",
    "compose",
    "compose_study",
    "compose_tree",
    "config_keys",
    "cost_keys",
    "differences",
    "groups",
    "load_config",
    "override",
    "parse_config",
    "register_defaults",
    "replace",
    "resolve",
    "to_yaml",
]


class Config(Options):
    """Everything a run depends on: keys of no group, and the groups, each of which is an attribute."""

    name: str = option("Of the run.", default="run", not_empty=True)
    run_dir: str = option("The folder it writes to.", default="runs/run", not_empty=True)
    seed: int = SEED
    threads: int = option(
        "Of all computations; 0 = OMP_NUM_THREADS where it is set, or else all cores that the process may use.",
        default=0,
        at_least=0,
        at_most=4096,
        decides_cost=True,
    )
    device: str = option("Where tensors are.", default="cpu", choices=("cpu", "cuda"))
    dtype: str = option(
        "Of the matrix products; auto: bf16 where the device multiplies it natively, otherwise fp32. A run folder "
        "holds what it became.",
        default="auto",
        choices=("auto", "fp32", "bf16"),
    )
    data: DataOptions
    mining: MiningOptions
    prompt: PromptConfig
    model: ModelOptions
    loss: LossOptions
    negatives: HardNegativeOptions
    lora: LoraOptions
    train: OptimizationOptions
    embed: EmbedOptions
    evaluation: EvaluationOptions
    generation: GenerationOptions

    def mismatch(self) -> str:
        """Options of different groups that contradict each other."""
        # known notes can be recommended by co-occurrence, new ones cannot
        if "cooccurrence" in self.evaluation.systems and self.data.split != "users":
            return (
                "evaluation.systems: co-occurrence must be measured on users that are held out, but notes are; try "
                "data.split=users"
            )
        # its notes would be of the same users' log
        if self.train.validate_every and self.data.split == "users":
            return "train.validate_every must be 0 where users are held out (data.split=users)"
        if self.negatives.model and not self.loss.contrastive:
            return "negatives.model must be empty where there is no contrastive loss (loss.contrastive=false)"
        for key, dims in (
            ("loss.nested_dims", self.loss.nested_dims),
            ("evaluation.dims", self.evaluation.dims),
        ):
            if fault := nested_dims_fault(dims, self.model.dim):
                return f"{key} {fault} (model.dim)"
        asked, most = self.generation.hashtag_count, self.prompt.max_hashtags
        if asked > most:
            return (
                f"generation.hashtag_count must be at most prompt.max_hashtags, but is {asked} beside {most}"
            )
        return ""

    def to_dict(self) -> dict[str, Any]:
        """All keys as plain data; groups are dictionaries."""
        return super().to_dict() | {name: getattr(self, name).to_dict() for name in CLASSES}


CLASSES: dict[str, Any] = {
    name: kind
    for name, kind in get_type_hints(Config).items()
    if name in Config.__dataclass_fields__ and hasattr(kind, "to_dict")
}
"""The groups, in the order of a file."""


_CORE = {group.name: group for group in _core.core_groups()}


def groups() -> list[OptionGroup]:
    """The description of every key: first the top-level keys, then the groups."""
    named = [
        _CORE.get(name) or OptionGroup(name, cls.GROUP.meaning, cls.GROUP.options)
        for name, cls in CLASSES.items()
    ]
    return [Config.GROUP, *named]


def config_keys() -> list[str]:
    """All keys, dotted, in the order of a file."""
    return _core.keys_of(groups())


def cost_keys() -> list[str]:
    """Keys that change only the cost of a run and the files it keeps, but not its results (apart from rounding)."""
    return [
        dotted(group, described)
        for group in groups()
        for described in group.options
        if described.decides_cost
    ]


def dotted(group: OptionGroup, described: Option) -> str:
    """The key of an option: with the name of its group, if that has one."""
    return f"{group.name}.{described.name}".lstrip(".")


STUDIES = Path("experiments/conf")
"""Folder with further groups and options, searched if it exists in the current directory."""


def load_config(path: str | Path) -> Config:
    """Reads a resolved configuration, such as the ``config.yaml`` of a run folder.

    Args:
        path: A YAML file that gives every key of the schema once; only options that were added later may be absent.

    Returns:
        The configuration: groups and keys are attributes, ``to_dict()`` converts it to plain data.

    Raises:
        ConfigError: If a key is missing, unknown or repeated, or a value has the wrong type or is out of
            range; names file and line.
    """
    return _made(read_options(path, groups()), str(path))


def parse_config(text: str, *, name: str = "") -> Config:
    """Reads a resolved configuration from YAML text.

    Args:
        text: YAML that gives every key of the schema once.
        name: The file's name in messages; without it they name only the key.

    Returns:
        The configuration.

    Raises:
        ConfigError: As in `load_config`.

    Example:
        >>> parse_config("lr: 1", name="mine.yaml")
        Traceback (most recent call last):
        notellm._core.util.ConfigError: mine.yaml:1: unknown key lr; did you mean train.lr?
    """
    return _made(_core.read_yaml(text, groups(), name=name), name)


def _made(tree: Mapping[str, Any], name: str = "") -> Config:
    """The configuration from a tree, checked."""
    before = f"{name}: " if name else ""
    own = {key: made(cls, tree[key], f"{before}{key}") for key, cls in CLASSES.items()}
    top = {key: value for key, value in tree.items() if key not in CLASSES}
    try:
        return Config(**top, **own)
    except ConfigError as error:
        raise ConfigError(before + str(error).removeprefix("Config: ")) from None


def compose(overrides: Sequence[str] = (), *, studies: str | Path | None = None) -> Config:
    """Composes a configuration from the packaged groups and overrides in Hydra's grammar.

    Args:
        overrides: ``key=value`` changes a value (``loss.alpha=0.1``), ``group=option`` selects another
            file of a group (``train=release``, ``experiment=demo``).
        studies: A folder with further groups and options; by default `STUDIES` if it exists.

    Returns:
        The configuration, complete and checked.

    Raises:
        ConfigError: One line: a wrong override with the nearest known name, or an error of
            `parse_config`.

    Example:
        >>> compose(["loss.alpha=0.1", "train=release"]).train.pairs_per_step
        128
        >>> compose(["loss.alhpa=0.1"])
        Traceback (most recent call last):
        notellm._core.util.ConfigError: loss.alhpa=0.1: unknown key loss.alhpa; did you mean loss.alpha?
    """
    return resolve(compose_tree(overrides, studies))


def resolve(tree: Any) -> Config:
    """Converts what Hydra has composed to a configuration.

    Args:
        tree: An OmegaConf mapping; a node ``study`` is ignored.

    Raises:
        ConfigError: As in `parse_config`, and if a value is missing or an interpolation fails.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain: Any = OmegaConf.to_container(without_study(tree), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(of_a_value(error)) from error
    for key in sorted(_missing(plain)):
        raise ConfigError(f"{key} must be given; try {key}=VALUE")
    config = _made(_core.check(dict(plain), groups()))
    is_of_home = config.run_dir.startswith("~")  # a shell expands it only where it begins a word
    return replace(config, {"run_dir": str(expanded(config.run_dir))}) if is_of_home else config


def without_study(tree: Any) -> Any:
    """A tree of Hydra's without its node ``study``: rows and seeds of a study, not a key of a run."""
    from omegaconf import OmegaConf

    OmegaConf.set_struct(tree, False)  # so that a node can be removed
    tree.pop("study", None)
    return tree


def _missing(plain: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The keys of a plain configuration whose values must still be given: those that OmegaConf writes as ``???``."""
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _missing(value, f"{place}{key}.")
        elif value == "???":
            yield f"{place}{key}"


def compose_study(
    overrides: Sequence[str] = (), *, studies: str | Path | None = None
) -> dict[str, Any] | None:
    """The ``study`` node of an experiment, as plain data; None if there is none.

    Args:
        overrides: As in `compose`, including ``experiment=NAME``.
        studies: As in `compose`.

    Raises:
        ConfigError: As in `compose`.
    """
    return study_of(compose_tree(overrides, studies))


def study_of(tree: Any) -> dict[str, Any] | None:
    """The node ``study`` of what Hydra has composed, as plain data; None if there is none.

    Args:
        tree: An OmegaConf mapping.

    Raises:
        ConfigError: If it is no group of keys, or an interpolation fails.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        node: Any = tree.get("study")
        plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise ConfigError(of_a_value(error)) from error
    if plain is not None and not isinstance(plain, dict):
        raise ConfigError(f"study: must be a group of keys, but is {shortened(plain)}")
    return plain


def register_defaults() -> None:
    """Tells Hydra the default of every key; its files contain only what differs from them."""
    from hydra.core.config_store import ConfigStore

    tree: dict[str, Any] = {}
    for group in groups():
        own = {described.name: described.standard for described in group.options}
        tree |= {group.name: own} if group.name else own
    ConfigStore.instance().store(name="defaults", node=tree, provider="notellm")


def compose_tree(overrides: Sequence[str], studies: str | Path | None = None) -> Any:
    """What Hydra composes, as an OmegaConf mapping with open interpolations; `resolve` makes a `Config` of it."""
    register_defaults()
    return composed_tree(overrides, groups(), STUDIES if studies is None else Path(studies))


def override(config: Config, overrides: Sequence[str]) -> Config:
    """Changes single keys of a resolved configuration, such as that of a run folder.

    Args:
        config: The configuration; it is not modified.
        overrides: ``key=value`` in Hydra's grammar. Options of groups and interpolations are allowed only
            in `compose`.

    Returns:
        The changed configuration, checked.

    Raises:
        ConfigError: One line: an unknown key, an option of a group, or an error of `parse_config`.

    Example:
        >>> override(compose(), ["loss.alpha=0.1"]).loss.alpha
        0.1
    """
    values, known = {}, config_keys()
    for change in parsed_overrides(overrides, groups()):
        key = str(change.key_or_group)
        is_plain = not (change.is_add() or change.is_delete() or change.is_sweep_override())
        if key not in known or not is_plain:
            raise ConfigError(
                f"{change.input_line}: a run that exists takes KEY=VALUE only; begin another for other groups"
            )
        values[key] = change.value()
    return replace(config, values)


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values of some keys, checked.

    Args:
        config: The configuration; it is not modified.
        values: New values by dotted key.

    Raises:
        ConfigError: As in `parse_config`.

    Example:
        >>> replace(compose(), {"loss.alpha": 0.1}).loss.alpha
        0.1
    """
    tree = config.to_dict()
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        (tree[group] if group else tree)[name] = value
    return _made(_core.check(tree, groups()))


def to_yaml(config: Config) -> str:
    """The configuration as YAML text that `parse_config` reads back unchanged.

    Example:
        >>> parse_config(to_yaml(compose())) == compose()
        True
    """
    return _core.to_yaml(config.to_dict(), groups())


def differences(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """The keys in which two configurations differ, with both values.

    Example:
        >>> differences(compose(), compose(["loss.alpha=0.1", "seed=3"]))
        {'seed': (0, 3), 'loss.alpha': (0.01, 0.1)}
    """
    old, new = before.to_dict(), after.to_dict()
    both = {key: (_value(old, key), _value(new, key)) for key in config_keys()}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def _value(tree: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree
