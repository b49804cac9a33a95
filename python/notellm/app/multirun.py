"""Hydra's own command line, for its sweepers and launchers: each job is one run of all steps.

Jobs are independent runs in Hydra's folders (``hydra.sweep.dir``); for tables, a ledger and skipping of finished runs
use `notellm sweep`. A job returns the trained model's MRR, for sweepers that optimise: use them with
``data.held_out=validation``, otherwise they choose by the test notes.

    python -m notellm.app.multirun -m experiment=demo loss.alpha=0,0.01,0.1 seed=0,1
    python -m notellm.app.multirun -m experiment=demo data.held_out=validation train.lr=2e-5,6e-5 hydra/launcher=joblib
"""

import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig

from notellm.app.config import STUDIES, register_defaults, replace, resolve


@hydra.main(version_base="1.3", config_path="pkg://notellm.conf", config_name="config")
def job(tree: Any) -> float:
    """Runs every step with one configuration, in the folder ``run`` inside Hydra's.

    Returns:
        Mean reciprocal rank of the trained model, or of the last system if none is trained.
    """
    from notellm.app.commands.configured import prepare_process, remark_on_dtype
    from notellm.app.pipeline import load_data, run_steps
    from notellm.app.run import RunFolder, alone_in

    config = replace(resolve(tree), {"run_dir": str(Path(HydraConfig.get().runtime.output_dir) / "run")})
    prepare_process(config)
    with alone_in(config.run_dir):
        run = RunFolder.open(config)
        remark_on_dtype(run.config)
        evaluation, _ = run_steps(run, load_data(run.config))
    found = {system.key: system.mrr.value for system in evaluation.systems}
    return float(found.get("trained", list(found.values())[-1]))


def main() -> None:
    """Calls Hydra, which reads the command line; studies of the current directory are found as usual."""
    register_defaults()
    if STUDIES.is_dir() and not any(text.startswith("hydra.searchpath=") for text in sys.argv):
        sys.argv.append(f"hydra.searchpath=[file://{STUDIES.resolve()}]")
    job()


if __name__ == "__main__":
    main()
