"""Which columns of a schema a table has, and under which names."""

import difflib
from collections.abc import Iterable, Mapping

from notellm.data.schema import Column, Kind
from notellm.errors import DataError

__all__ = ["find_columns"]


def find_columns(
    source: str,
    header: Iterable[str],
    schema: Mapping[str, Column],
    columns: Mapping[str, str],
    *,
    is_csv: bool = False,
) -> dict[str, str]:
    """Finds a schema's columns in a header; a missing or misspelt one is an error.

    Args:
        source: The table, as messages name it.
        header: The names of its columns.
        schema: The columns wanted, by their names here.
        columns: The table's names of columns that differ from the schema's; ``""`` means that it has no such column.
        is_csv: Whether a wrong separator may be what is wrong.

    Returns:
        The table's names of the columns that it has, by the schema's.

    Raises:
        DataError: If a column is missing, or comes twice.
        ValueError: If a key of ``columns`` is not of the schema.
    """
    header, names, present = list(header), _names(schema, columns), {}
    for name, there in names.items():
        if header.count(there) > 1:
            raise DataError(
                f"{source}: column names must differ, but {there!r} comes {header.count(there)} times"
            )
        if there in header:
            present[name] = there
            continue
        near = _nearest(there, [other for other in header if other not in names.values()])
        if schema[name].is_required or name in columns or near:
            hint = f"columns={{{name!r}: {near!r}}}" if near else f"columns={{{name!r}: <its name there>}}"
            absent = f", or {name!r}: '' if there is none" if schema[name].kind is not Kind.KEY else ""
            if is_csv and len(header) == 1 and len(names) > 1:
                hint, absent = "commas, semicolons or tabs between the columns", ""
            raise DataError(
                f"{source}: column {there!r} must be there, but the columns are {', '.join(header) or 'none'}; "
                f"try {hint}{absent}"
            )
    return present


def _names(schema: Mapping[str, Column], columns: Mapping[str, str]) -> dict[str, str]:
    """The table's name of every column of the schema, without those said to be absent."""
    for name in columns:
        if name not in schema:
            raise ValueError(f"columns: keys must be among {', '.join(schema)}, but one is {name!r}")
    names = {name: columns.get(name, name) for name in schema}
    return {name: there for name, there in names.items() if there}


def _nearest(name: str, others: list[str]) -> str:
    """The name that was probably meant, ignoring case; or none."""
    by_form = {other.strip().casefold(): other for other in reversed(others)}
    near = difflib.get_close_matches(name.casefold(), by_form, n=1, cutoff=0.6)
    return by_form[near[0]] if near else ""
