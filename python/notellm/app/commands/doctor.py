"""Looks at this machine: what is there, what is missing, what that disables and how to get it.

Changes nothing. The exit code is 1 if something is broken; what is merely missing does not count.

for example:
  notellm doctor
  notellm doctor --json
"""

from notellm.app.doctor import add_arguments, run

__all__ = ["add_arguments", "run"]
