"""The project's exceptions, which a caller may want to handle separately."""

from notellm._core.util import ConfigError, DataError, NotSupportedError

__all__ = ["ConfigError", "DataError", "NotSupportedError"]
