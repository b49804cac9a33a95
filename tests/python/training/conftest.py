"""One thread: on shapes as small as the tests' a second one costs time, and on a busy machine very much of it."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
