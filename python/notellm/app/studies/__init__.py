"""Studies: the rows of a table as configurations, which are run one after the other, and the resulting table.

In the order of the work: `ledger` (what has been run), `search` (how an option is chosen), `study` (what to run),
`loading` (from a file or plain data, checked), `sweep` (runs what is missing), `differences` (tests), `table`, `power`,
`table_plot`, `difference_plot`, `recall_plot`, `exposure_plot`, `time_plot` and `embedding_map` (the results).
"""

from notellm.app.studies.cell import Cell
from notellm.app.studies.difference_plot import plot_differences
from notellm.app.studies.embedding_map import plot_map
from notellm.app.studies.exposure_plot import plot_exposure
from notellm.app.studies.ledger import Ledger
from notellm.app.studies.loading import load_study, make_study
from notellm.app.studies.power import PowerTable, make_power
from notellm.app.studies.recall_plot import plot_recall
from notellm.app.studies.study import Study
from notellm.app.studies.sweep import sweep
from notellm.app.studies.table import Table, make_table
from notellm.app.studies.table_plot import plot_table
from notellm.app.studies.time_plot import plot_time

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
