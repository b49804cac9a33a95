"""Where downloaded data and models are kept between runs."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(name: str = "") -> Path:
    """A folder below ``$XDG_CACHE_HOME/notellm``, or ``~/.cache/notellm``; it need not exist yet.

    Args:
        name: Name of the data or model, for example ``"debian"``; empty for the folder of all.

    Raises:
        ConfigError: If nothing says where home is.

    Example:
        >>> cache_folder("debian").parts[-2:]
        ('notellm', 'debian')
    """
    base = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if base.startswith("~"):
        from notellm.errors import ConfigError  # of the core, without which the doctor reads this, too

        raise ConfigError("cache: a home folder must be known, but is not; try to set XDG_CACHE_HOME")
    return Path(base) / "notellm" / name
