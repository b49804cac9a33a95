"""Packages that only some functions need: an import that fails says what to install."""

from collections.abc import Iterator
from contextlib import contextmanager

from notellm.errors import NotSupportedError

__all__ = ["importing"]


@contextmanager
def importing(
    where: str, package: str, *, module: str = "", install: str = "", otherwise: str = ""
) -> Iterator[None]:
    """Around the imports of an optional package.

    Args:
        where: What needs it, for the message.
        package: Its name as people install it.
        module: Its name as Python imports it, if that is another one than with ``_`` for ``-``.
        install: What pip is to install, if that is not the package itself.
        otherwise: What can be done without it.

    Raises:
        NotSupportedError: If an import in the body fails: the package is not there, or does not work.

    Example:
        >>> with importing("here", "no-such"):
        ...     import no_such
        Traceback (most recent call last):
        notellm._core.util.NotSupportedError: here: no-such must be installed, but is not; try `pip install no-such`
    """
    try:
        yield
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == (
            module or package.replace("-", "_")
        )
        found = "is not" if is_absent else f"cannot be imported ({' '.join(str(error).split())})"
        remedy = f"`pip install {install or package}`" + (f", or {otherwise}" if otherwise else "")
        raise NotSupportedError(f"{where}: {package} must be installed, but {found}; try {remedy}") from error
