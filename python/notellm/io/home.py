"""Paths as people write them: with ``~`` for the home folder."""

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | Path, *, instead: str = "a whole path") -> Path:
    """The path with ``~`` and ``~name`` at its beginning replaced by a home folder.

    ``~name`` stays where there is no such user: a file may be called so.

    Args:
        path: The path.
        instead: What else than HOME can be set, for the message.

    Raises:
        ConfigError: If the path begins with ``~/`` and nothing says where home is, as in some containers.

    Example:
        >>> expanded("~nobody-has-this-name.csv").name
        '~nobody-has-this-name.csv'
    """
    there = os.path.expanduser(path)
    if there == "~" or there.startswith(f"~{os.sep}"):
        from notellm.errors import ConfigError  # of the core, without which the doctor reads this, too

        raise ConfigError(f"{path}: a home folder must be known, but is not; try to set HOME, or {instead}")
    return Path(there)
