"""Bad inputs of every verb and of some calls, each with what the message must say.

A case is what is called, the message, and the files that are written first: their contents by name, or what makes them.
In the working directory there are also right notes and a right log (`notes.csv`, `log.csv`), a backbone (`model`) and a
saved model (`saved`).
"""

import json

import pytest

DATA = (
    "data=files data.notes=notes.csv data.interactions=log.csv data.ordered=false model.path=model dtype=fp32"
)


def case(command, message, **files):
    """A case; in the names of files ``__`` stands for a dot."""
    return pytest.param(command, message, files, id=command[-60:])


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)
