"""NoteLLM: mine related notes, train one model to embed and to describe them, evaluate it exactly."""

import torch

from notellm import _core

if torch.__version__ != _core.__torch_version__:
    raise ImportError(
        f"notellm: this build needs torch {_core.__torch_version__}, but {torch.__version__} is installed; "
        "reinstall with `pip install --no-build-isolation --force-reinstall --no-deps .`"
    )

from notellm.errors import ConfigError, DataError, NotSupportedError

__version__ = _core.__version__

__all__ = ["ConfigError", "DataError", "NotSupportedError"]
