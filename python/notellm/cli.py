"""The command line under its former name, for scripts that call ``notellm.cli.main``; see `notellm.app.cli`."""

from notellm.app.cli import _is_ours, main

__all__ = ["_is_ours", "main"]
