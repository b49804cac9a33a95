"""Loads the extension module ``notellm._core``, or says in one sentence why it cannot be loaded.

Before any other module of this package is imported, `ExtensionFinder` loads the extension. It loads PyTorch first,
because the extension needs its libraries, and refuses an extension that was built with another PyTorch.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType

__all__ = ["ExtensionError", "ExtensionFinder", "torch_version"]

NAME = "notellm._core"
LIGHT = {
    f"notellm.{module}"
    for module in (
        "app",
        "app.cli",
        "app.commands",
        "app.commands.doctor",
        "app.doctor",
        "app.extras",
        "extension",
        "interrupts",
        "io",
        "io.cache",
        "io.home",
        "machine",
        "older_cpu",
    )
}
"""The modules that work without the extension, which help and doctor use."""

BUILD = "`make clean setup`, or `pip install --no-build-isolation --no-deps .`, in the source folder"
INSTALL = "`rm -rf .venv && make clean setup` in the source folder, or `pip install torch`"


class ExtensionError(ImportError):
    """PyTorch or the extension cannot be used.

    Attributes:
        problem: What must hold, and what was found.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; try {remedy}", name=NAME)
        self.problem, self.remedy = problem, remedy


def torch_version() -> str:
    """Imports PyTorch.

    Returns:
        Its version with its build, such as ``2.13.0+cpu``.

    Raises:
        ExtensionError: It is absent or does not load.
    """
    try:
        import torch

        return str(torch.__version__)
    except (ImportError, OSError, AttributeError) as error:  # also: a library does not load; an empty folder
        problem = f"notellm: PyTorch must be installed, but cannot be imported ({_first_line(error)})"
        raise ExtensionError(problem, INSTALL) from error


class ExtensionFinder(MetaPathFinder):
    """Loads ``notellm._core`` with `_CheckedLoader`, before any module of this package except the `LIGHT` ones."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The extension's spec; None for every other module.

        Raises:
            ExtensionError: PyTorch or the extension cannot be used.
        """
        if fullname == NAME:
            return self._find_extension(path, target)
        if fullname.startswith("notellm.") and fullname not in LIGHT:
            import_module(NAME)  # else `import torch` in that module might fail first, and say less
        return None

    def _find_extension(self, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec:
        version = torch_version()
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(NAME, path, target) for finder in behind)
        spec = next((spec for spec in specs if spec), None)
        if spec is None or spec.origin is None:  # only the folder of stubs was found, as an empty package
            raise ExtensionError(f"{NAME}: must be built, but is absent", BUILD)
        spec.loader = _CheckedLoader(NAME, spec.origin, version)
        return spec


class _CheckedLoader(ExtensionFileLoader):
    def __init__(self, name: str, path: str, torch: str) -> None:
        super().__init__(name, path)
        self.torch = torch

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        try:
            return super().create_module(spec)
        except ImportError as error:  # most often an undefined symbol: PyTorch has another ABI
            raise self._error(f"does not load ({_first_line(error)})") from error

    def exec_module(self, module: ModuleType) -> None:
        try:
            super().exec_module(module)
        except ImportError as error:
            raise self._error(f"does not start ({_first_line(error)})") from error
        built = getattr(module, "__torch_version__", "another PyTorch")
        if built != self.torch:
            for part in [name for name in sys.modules if name.startswith(f"{NAME}.")]:
                del sys.modules[part]  # the extension has registered them; they would still be found
            raise self._error(f"was built with {built}")

    def _error(self, found: str) -> ExtensionError:
        return ExtensionError(f"{NAME}: must be built with PyTorch {self.torch}, but {found}", BUILD)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
