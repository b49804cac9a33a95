"""Loads matplotlib, an optional package that only pictures need."""

from types import ModuleType

from notellm.errors import NotSupportedError


def load_matplotlib(where: str) -> ModuleType:
    """The package, with ``matplotlib.figure`` imported.

    Args:
        where: The calling function, for the message.

    Raises:
        NotSupportedError: If it is not installed.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise NotSupportedError(
            f"{where}: matplotlib must be installed to draw, but is not; try `pip install matplotlib`"
        ) from error
    module: ModuleType = matplotlib
    return module
