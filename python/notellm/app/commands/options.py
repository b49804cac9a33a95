"""Lists the keys of a configuration: default, meaning, range and unit.

for example:
  notellm options
  notellm options train
  notellm options generation.top_p
  notellm options --markdown
"""

import argparse
import textwrap

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    parser.add_argument("group", nargs="?", help="a group, or one key; all by default")
    parser.add_argument("--markdown", action="store_true", help="as the page docs/options.md, for all groups")


def run(arguments: argparse.Namespace) -> None:
    """Prints the list.

    Raises:
        ConfigError: If there is no such group or key; names the nearest.
    """
    from notellm.app.config import dotted, groups
    from notellm.errors import ConfigError
    from notellm.options import facts, reference_page, unknown

    described = groups()
    if arguments.markdown:
        print(reference_page(described), end="")
        return
    wanted = arguments.group
    if wanted and (complaint := unknown(described, wanted)):
        raise ConfigError(f"options: {complaint}")
    for group in described:
        is_whole = wanted in (None, group.name)
        if is_whole and group.name:
            print(f"{group.name}: {group.meaning}\n")
        for one in group.options:
            key = dotted(group, one)
            if not is_whole and wanted != key:
                continue
            print(f"{key}={_text(one.standard)}")
            told = " ".join(filter(None, [one.meaning, facts(one)]))
            print(textwrap.fill(told, 100, initial_indent="    ", subsequent_indent="    ") + "\n")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value) if value != "" else "''"
