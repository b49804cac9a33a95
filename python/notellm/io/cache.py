"""Where downloaded data and models are kept between runs."""

import os
from pathlib import Path

from notellm.io.home import expanded

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
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(base, instead="XDG_CACHE_HOME") / "notellm" / name
