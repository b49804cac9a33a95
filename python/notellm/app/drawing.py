"""Loads matplotlib, an optional package that only pictures need."""

from types import ModuleType

from notellm.optional import importing


def load_matplotlib(where: str) -> ModuleType:
    """The package, with ``matplotlib.figure`` imported.

    Args:
        where: The calling function, for the message.

    Raises:
        NotSupportedError: If it is not installed.
    """
    with importing(where, "matplotlib"):
        import matplotlib
        import matplotlib.figure
    module: ModuleType = matplotlib
    return module
