"""Data of scripts as plain data, which JSON can hold."""

import json
from typing import Any, TypeVar

__all__ = ["plain"]

Data = TypeVar("Data")


def plain(data: Data, what: str) -> Data:
    """The data with numbers and arrays of NumPy and torch as plain ones.

    Args:
        data: Of dictionaries with texts as keys, lists, texts, numbers.
        what: Its name, for the error.

    Raises:
        TypeError: If a part is something else; names it.

    Example:
        >>> import numpy as np
        >>> plain({"a": np.float32(0.5), "b": [np.arange(2)]}, "state")
        {'a': 0.5, 'b': [[0, 1]]}
    """
    made: Data = _plain(data, what)
    return made


def _plain(data: Any, what: str) -> Any:
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):  # JSON would give it back as a text, or not take it
                raise TypeError(
                    f"{what} must have texts as keys, but has {key!r}, of the type {type(key).__name__}"
                )
        return {key: _plain(value, f"{what}[{key!r}]") for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value, f"{what}[{i}]") for i, value in enumerate(data)]
    if hasattr(data, "tolist"):  # NumPy's and torch's
        return data.tolist()
    try:
        json.dumps(data)
    except TypeError:
        raise TypeError(f"{what} must be plain data, but is a {type(data).__name__}") from None
    return data
