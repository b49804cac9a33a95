"""Options: each is described in one place, in a class beside the function that takes it.

The description of an option is its name, type and default, the range or the choices of its values, one sentence, its
unit, and whether it changes results or only their cost. From it come the checks of constructors and configuration
files, Hydra's defaults, the names of runs, ``notellm options`` and the page ``docs/options.md``. Options of the core's
functions are described in C++ (``notellm._core.options``), with the same kind of record.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, dataclass_transform

from notellm._core import options as _core
from notellm._core.options import Option, OptionGroup
from notellm.errors import ConfigError

__all__ = [
    "Option",
    "OptionGroup",
    "Options",
    "check_yaml_file",
    "facts",
    "made",
    "option",
    "read_options",
    "reference_page",
    "unknown",
]

_DESCRIPTION = "option"
"""Key of a field's metadata."""


def option(
    meaning: str,
    *,
    default: Any,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    not_empty: bool = False,
    each_once: bool = False,
    unit: str = "",
    decides_cost: bool = False,
    added_later: bool = False,
) -> Any:
    """A field of a class of `Options`.

    Args:
        meaning: One sentence.
        default: A bool, int, float or str, or a tuple of int or of str. Its type is the option's.
        at_least: Smallest value; for a tuple this and the next four apply to each item.
        above: Exclusive lower bound.
        at_most: Largest value.
        below: Exclusive upper bound.
        choices: The allowed texts; none: any.
        not_empty: Whether a text or a tuple must not be empty. If the default is empty, the option must be given.
        each_once: Whether no item of a tuple may be given twice.
        unit: What a number counts or measures.
        decides_cost: Whether it changes only the cost of a run and the files it keeps, but not its results.
        added_later: Whether it is newer than configurations that were kept: one without it takes the default, which
            must forever be what was in effect before; and names of results leave it out where it has its default.
    """
    low, high = at_least if above is None else above, at_most if below is None else below
    facts = {
        "low": low,
        "high": high,
        "excludes_low": above is not None,
        "excludes_high": below is not None,
        "choices": list(choices),
        "must_not_be_empty": not_empty,
        "must_differ": each_once,
        "unit": unit,
        "decides_cost": decides_cost,
        "is_added_later": added_later,
    }
    return dataclasses.field(default=default, metadata={_DESCRIPTION: (meaning, facts)})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class Options:
    """Base of classes of options: immutable, made of keyword arguments, which are checked.

    Fields without `option` are arguments of the call, not options: no configuration has them.

    Raises:
        ConfigError: (a ValueError) ``Class: option must be ..., but is ...``.
    """

    GROUP: ClassVar[OptionGroup]
    """The description."""

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        described = [field for field in dataclasses.fields(cls) if _DESCRIPTION in field.metadata]  # type: ignore[arg-type]
        cls.GROUP = OptionGroup(
            "", (cls.__doc__ or "").partition("\n")[0], [_description(field) for field in described]
        )

    def __post_init__(self) -> None:
        name = type(self).__name__
        given = {described.name: _plain(getattr(self, described.name)) for described in self.GROUP.options}
        for key, value in _core.check(given, [self.GROUP], name=name).items():
            object.__setattr__(self, key, tuple(value) if isinstance(value, list) else value)
        why = self.mismatch()
        if why:
            raise ConfigError(f"{name}: {why}")

    def mismatch(self) -> str:
        """Why the options do not fit together, as the end of a message; empty if they do."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """All options, by name, as plain data: tuples become lists."""
        return {described.name: _plain(getattr(self, described.name)) for described in self.GROUP.options}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """Makes an instance from plain data, such as a YAML file's; options that are not given have their defaults.

        Args:
            values: Values by option name.
            where: The source for error messages, for example the file; by default the class.

        Raises:
            ConfigError: ``where: ...``; for an unknown key it suggests the nearest known one.
        """
        where = where or cls.__name__
        checked = _core.check(dict(values), [cls.GROUP], name=where, fills_in=True)
        instance: Self = made(cls, checked, where)
        return instance


def read_options(
    path: str | Path, described: Sequence[OptionGroup], *, fills_in: bool = False
) -> dict[str, Any]:
    """Reads a YAML file of options.

    Args:
        path: The file.
        described: The groups whose keys it may have.
        fills_in: Whether a missing key takes its default.

    Returns:
        The values, checked: by key those of the group without a name, below their group's name those of others.

    Raises:
        ConfigError: If it cannot be read, is not UTF-8 or not YAML, is too large (aliases count), or a key is unknown,
            repeated or missing, or a value has the wrong type or is out of range; names file and line.
    """
    return _core.read_yaml(_content_of(path), described, name=str(path), fills_in=fills_in)


def check_yaml_file(path: str | Path) -> None:
    """Refuses a YAML file that Hydra is to read, if a small file of it could take unbounded time, memory or depth.

    Raises:
        ConfigError: As `read_options`, whatever the keys.
    """
    _core.check_yaml(_content_of(path), name=str(path))


def _content_of(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: must be a readable file, but {error.strerror}") from None


def made(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    """An instance of a class of options, of Python or of the core, whose errors name ``where`` instead of the class."""
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {str(error).removeprefix(f'{cls.__name__}: ')}") from None


def _description(field: "dataclasses.Field[Any]") -> Option:
    meaning, facts = field.metadata[_DESCRIPTION]
    is_of_integers = field.type == tuple[int, ...]  # an empty default does not say it
    return Option(field.name, _plain(field.default), meaning, **facts, is_of_integers=is_of_integers)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def facts(described: Option) -> str:
    """Range, choices and unit of an option as one sentence; empty if there are none.

    Example:
        >>> class Mine(Options):
        ...     share: float = option("A share.", default=0.5, above=0, at_most=1)
        >>> facts(Mine.GROUP.options[0])
        'In (0, 1].'
    """
    parts = [_range(described)]
    if described.choices:
        parts.append("One of " + ", ".join(described.choices))
    if described.must_differ:
        parts.append("Each at most once")
    if described.unit:
        parts.append(f"Unit: {described.unit}")
    if described.decides_cost:
        parts.append("Changes what a run costs, not what comes of it")
    told = [part for part in parts if part]
    return ". ".join(told) + "." if told else ""


def _range(described: Option) -> str:
    low, high = described.low, described.high
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f"{'Above' if described.excludes_low else 'At least'} {low:g}"
    opens, closes = "[("[described.excludes_low], "])"[described.excludes_high]
    return f"In {opens}{low:g}, {high:g}{closes}"


def unknown(described: Sequence[OptionGroup], key: str) -> str:
    """The message that a dotted key or group does not exist, with the nearest one; empty if it exists."""
    return _core.unknown_key(described, key)


def reference_page(described: Sequence[OptionGroup]) -> str:
    """All groups as a page in Markdown."""
    lines = [
        "# Options",
        "",
        "Written by `notellm options --markdown`. A configuration has these keys; a group's keys are written "
        "`group.key=value`. Functions of the library take a group's keys as "
        "keyword arguments, or the group as a class.",
    ]
    for group in described:
        lines += ["", f"## {group.name or 'Keys of no group'}", "", group.meaning, ""]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        for one in group.options:
            told = " ".join(filter(None, [one.meaning, facts(one)])).replace("|", "\\|")
            told = told.replace("<", "&lt;")
            lines.append(f"| `{one.name}` | `{_shown(one.standard)}` | {told} |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
