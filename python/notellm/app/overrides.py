"""Overrides of a configuration in Hydra's grammar: parsed, and refused with a hint."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from notellm.errors import ConfigError
from notellm.options import OptionGroup, unknown

__all__ = ["one_line", "parsed_overrides", "quoted"]


def parsed_overrides(overrides: Sequence[str], described: Sequence[OptionGroup]) -> list[Any]:
    """Parses overrides and refuses wrong ones; Hydra would, too, but in many lines and without a hint.

    Args:
        overrides: In Hydra's grammar.
        described: The groups whose keys there are.

    Returns:
        Hydra's own objects, one for each override.

    Raises:
        ConfigError: One line: what is wrong, and how the value is quoted where only that is missing.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            change = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(
                f"{text}: must be KEY=VALUE, but {one_line(error)}{_try_quotes(text)}"
            ) from error
        if change.is_sweep_override():
            raise ConfigError(
                f"{text}: must be one value, but is several{_try_quotes(text)}, or KEY=[A,B] for a list"
            )
        if change.package is not None:
            raise ConfigError(
                f"{text}: must be KEY=VALUE without a package (@), but has one{_try_quotes(text)}"
            )
        parsed.append(change)
        key = str(change.key_or_group)
        if not key:
            raise ConfigError(f"{text}: must be KEY=VALUE, but has no key")
        if key in ("experiment", "scale") or key.split(".")[0] == "hydra":
            continue
        complaint = unknown(described, key.replace("/", "."))
        if complaint:
            raise ConfigError(f"{text}: {complaint}")
    return parsed


def quoted(text: str) -> str:
    r"""Any text as a quoted value in Hydra's grammar.

    Example:
        >>> quoted("it's.csv")
        "'it\\'s.csv'"
    """
    escaped = re.sub(r"(\\*)('|$)", lambda end: end[1] * 2 + end[2].replace("'", "\\'"), text)
    return "'" + escaped.replace("${", "\\${") + "'"


def _try_quotes(text: str) -> str:
    """How a value with special characters is written: quoted for Hydra, and once more for the shell."""
    key, equals, value = text.partition("=")
    if not equals or not value or not re.fullmatch(r"[+~\w./]+", key):
        return ""
    if value.startswith("[") and value.endswith("]"):
        return "; try quotes around each text of the list"
    in_double = '"' not in value and "\\" not in value and "$" not in value
    told = f'"{value}"' if in_double else quoted(value)
    return f"; try {shlex.quote(f'{key}={told}')} for this text"


def one_line(error: BaseException) -> str:
    """The message of an error of Hydra's without its line breaks."""
    return re.sub(r"\s*\n\s*", " ", str(error)).strip()
