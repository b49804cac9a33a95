"""Studies: the rows of a table as configurations, which are run one after the other, and the resulting table.

In the order of the work: `ledger` (what has been run), `search` (how an option is chosen), `study` (what to run),
`loading` (from a file or plain data, checked), `sweep` (runs what is missing), `differences` (tests), `table`, `power`,
`plot`, `difference_plot` and `embedding_map` (the results).
"""

from notellm.app.studies.cell import Cell
from notellm.app.studies.difference_plot import plot_differences
from notellm.app.studies.embedding_map import plot_map
from notellm.app.studies.ledger import Ledger
from notellm.app.studies.loading import load_study, make_study
from notellm.app.studies.plot import plot_exposure, plot_recall, plot_table, plot_time
from notellm.app.studies.power import PowerTable, make_power
from notellm.app.studies.study import Study
from notellm.app.studies.sweep import sweep
from notellm.app.studies.table import Table, make_table

__all__ = [
    "Cell",
    "Ledger",
    "PowerTable",
    "Study",
    "Table",
    "load_study",
    "make_power",
    "make_study",
    "make_table",
    "plot_differences",
    "plot_exposure",
    "plot_map",
    "plot_recall",
    "plot_table",
    "plot_time",
    "sweep",
]
