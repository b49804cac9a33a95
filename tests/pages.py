"""Documents as tests read them: their commands and their Python."""

import re
import shlex


def blocks(text, language):
    """The blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.+?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text, program):
    """The arguments of each call of a program in the blocks of shell commands."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [words[1:] for words in map(shlex.split, lines) if words[0] == program]


def on_tiny(arguments, overrides):
    """A command's arguments, with a configuration on which it is quick where it has one of the demo."""
    return [*arguments, *overrides] if "experiment=demo" in arguments else arguments
