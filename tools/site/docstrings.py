"""An extension of Griffe: docstrings as mkdocstrings reads them."""

import re
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert

FORMULA = re.compile(r"^\.\. math:: (.+)$", re.MULTILINE)
INLINE_FORMULA = re.compile(r":math:`([^`]+)`")
ROLE = re.compile(r":(?:class|func|meth):(?=`)")
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(Extension):
    """Called by mkdocstrings for everything that it reads."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Formulas become MathML, which browsers show by themselves; one example is a section like several."""
        if obj.docstring is not None:
            text = FORMULA.sub(lambda match: convert(match[1], display="block"), obj.docstring.value)
            text = INLINE_FORMULA.sub(lambda match: convert(match[1]), text)
            obj.docstring.value = EXAMPLE.sub("Examples:", ROLE.sub("", text))
