"""Studies: a table's rows as configurations, run one after the other, and the table that comes of them.

Read in the order of the work: `ledger` (what has been run), `search` (how an option is
chosen), `study` (what is to be run), `loading` (of a file or plain data, checked), `sweep` (running what is missing),
`table`, `plot` and `embedding_map` (what came out).
"""

from notellm.studies.cell import Cell
from notellm.studies.embedding_map import plot_map
from notellm.studies.ledger import Ledger
from notellm.studies.loading import load_study, make_study
from notellm.studies.plot import plot_exposure, plot_recall, plot_table
from notellm.studies.study import METRICS, Study
from notellm.studies.sweep import sweep
from notellm.studies.table import Table, make_table

__all__ = [
    "METRICS",
    "Cell",
    "Ledger",
    "Study",
    "Table",
    "load_study",
    "make_study",
    "make_table",
    "plot_exposure",
    "plot_map",
    "plot_recall",
    "plot_table",
    "sweep",
]
