"""The templates of pages that are one file: those of a package of ours, and what all pages share."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(package: str) -> Environment:
    """The templates of a package, and those in ``notellm/app/templates``.

    Everything is escaped except what they mark as safe, so no note can break a page. Data in a script are written by
    the filter ``tojson``, compact, with letters as they are and ``<`` escaped.

    Args:
        package: Its name; it has a folder ``templates``.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("notellm.app")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":"), "allow_nan": False}
    made.filters["thousands"] = "{:,}".format
    return made
