"""The project's exceptions: what a caller may want to tell apart."""

from notellm._core.util import ConfigError, DataError, NotSupportedError

__all__ = ["ConfigError", "DataError", "NotSupportedError"]
