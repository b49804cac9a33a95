"""Where the numbers of a run go: a file, TensorBoard, MLflow, Weights & Biases, trackio.

Each logger is a thin adapter on its package, which is imported when it is opened. Where a package sends its numbers (a
server, a local store, nowhere yet) is its own setting, usually an environment variable.
"""

from notellm.loggers.about import About, Parent
from notellm.loggers.opening import LOGGERS, Loggers, check_installed, end_parent

__all__ = ["LOGGERS", "About", "Loggers", "Parent", "check_installed", "end_parent"]
