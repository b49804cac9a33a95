"""Converts the layouts of public data sets to notes and a log.

Each converter takes the files as they are published, checks them, and says what is missing. `CONVERTERS` lists them;
`notellm convert` calls them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from notellm.data.converters.amazon import amazon_2018, amazon_2023, amazon_items
from notellm.data.converters.kuairec import kuairec
from notellm.data.converters.microlens import microlens
from notellm.data.converters.qilin import qilin
from notellm.data.interactions import Interactions
from notellm.data.notes import Notes

__all__ = [
    "CONVERTERS",
    "Converter",
    "amazon_2018",
    "amazon_2023",
    "amazon_items",
    "kuairec",
    "microlens",
    "qilin",
]


class Converter(NamedTuple):
    """How a layout is read.

    Attributes:
        convert: From the file of items and that of interactions (or None) to notes and a log (or None).
        items: The published name of the first file.
        interactions: The published name of the second file.
    """

    convert: Callable[[Path, Path | None], tuple[Notes, Interactions | None]]
    items: str
    interactions: str


CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {
        "amazon-2018": Converter(amazon_2018, "meta_CATEGORY.json[.gz]", "CATEGORY[_5].json[.gz]"),
        "amazon-2023": Converter(amazon_2023, "meta_CATEGORY.jsonl[.gz]", "CATEGORY.jsonl[.gz]"),
        "amazon-items": Converter(amazon_items, "NAME.item.json", "NAME.inter.json"),
        "kuairec": Converter(kuairec, "kuairec_caption_category.csv", "big_matrix.csv"),
        "microlens": Converter(
            microlens,
            "MicroLens-50k_titles.csv, MicroLens-100k_title_en.csv",
            "MicroLens-50k_pairs.csv, MicroLens-100k_pairs.csv (or .tsv)",
        ),
        "qilin": Converter(qilin, "notes", "recommendation_train"),
    }
)
