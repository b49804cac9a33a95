"""Student's distribution by the functions that load quickly, against scipy.stats."""

import subprocess
import sys

import numpy as np
import pytest

from notellm.evaluation import student

FREEDOM = [0.5, 1, 2, 2.7, 30, 1e4, 1e9, float("inf")]


@pytest.mark.parametrize("freedom", FREEDOM)
def test_it_is_that_of_scipy(freedom):
    from scipy import stats

    x = np.concatenate([np.linspace(-40, 40, 101), [-np.inf, np.inf]])
    assert np.allclose(student.below(x, freedom), stats.t.cdf(x, freedom), rtol=1e-13, atol=0)
    assert np.allclose(student.above(x, freedom), stats.t.sf(x, freedom), rtol=1e-13, atol=0)
    for chance in (0.001, 0.2, 0.8, 0.975):
        assert student.quantile(chance, freedom) == pytest.approx(stats.t.ppf(chance, freedom), rel=1e-13)
    assert student.widening(0.975, freedom) == pytest.approx(
        stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975), rel=1e-13
    )


def test_commands_do_not_wait_for_scipy_s_statistics():
    code = "import sys, notellm.app.config; print([m for m in ('scipy.stats', 'scipy.optimize') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
