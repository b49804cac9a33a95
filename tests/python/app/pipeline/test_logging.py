"""What an evaluation has found goes to the loggers of its run; it stands without them."""

import torch

from notellm.app.config import compose
from notellm.app.pipeline.metrics import log_metrics
from notellm.app.run import RunFolder
from notellm.evaluation import evaluate_retrieval
from notellm.loggers import LOGGERS
from notellm.loggers.logger import Logger
from notellm.retrieval import Ranks


class Away(Logger):
    def __init__(self, about, first_step):
        raise ConnectionError("no server at mlflow.example.org")


def test_a_logger_that_cannot_be_opened_does_not_end_an_evaluation(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LOGGERS, "tensorboard", Away)
    run = RunFolder(tmp_path, compose(["train.loggers=[tensorboard]"]))
    one = Ranks(greater=torch.tensor([0]), equal=torch.tensor([0]))
    log_metrics(run, evaluate_retrieval({"trained": one}, [1], [3, 2, 1]))
    (line,) = capsys.readouterr().err.splitlines()
    assert "no server at mlflow.example.org" in line
