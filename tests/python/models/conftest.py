"""What tests of models share."""

import pytest


@pytest.fixture(params=["", "none"], ids=["loops", "composed"])
def loops(request, use):
    """By the hand-written loops, and by composed operations."""
    use(request.param)
    return request.param
