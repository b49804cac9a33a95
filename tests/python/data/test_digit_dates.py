"""Dates in digits, such as 20240131, are dates in every kind of file, and never seconds of the year 1970."""

import datetime as dt
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from notellm.data.digit_dates import DIGIT_DATES, digit_dates
from notellm.data.interactions import Interactions
from notellm.errors import DataError

FORMATS = ["%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"]


def never(row, problem):
    raise AssertionError(problem)


@pytest.mark.parametrize(("form", "written"), list(zip(DIGIT_DATES, FORMATS, strict=True)), ids=FORMATS)
def test_dates_are_those_of_pythons_calendar(form, written):
    random_, span = random.Random(0), 200 * 365 * 86_400
    moments = [dt.datetime(1900, 1, 1) + dt.timedelta(seconds=random_.randrange(span)) for _ in range(500)]
    texts = [
        moment.strftime(written) for moment in [*moments, dt.datetime(2024, 2, 29), dt.datetime(2000, 12, 31)]
    ]
    numbers = np.array([int(text) for text in texts])
    assert digit_dates(numbers) is form
    right = [dt.datetime.strptime(text, written).replace(tzinfo=dt.UTC).timestamp() for text in texts]
    assert form.seconds(numbers, never).tolist() == right


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        [20230229],  # no leap year
        [20241301],
        [20240100],
        [18991231],
        [21010101],
        [-20240131],
        [2024013124],
        [202401312360],
        [1_700_000_000, 1_700_000_001],  # seconds, and smaller units
        [1_700_000_000_123],
        [1_700_000_000_123_456],
        [1_700_000_000_123_456_789],
        [20240101, 0, 1],  # most are no dates
        [-(2**63), 2**63 - 1],
        [202401, 202402],  # months: too near to any small number
    ],
    ids=str,
)
def test_other_numbers_are_none(numbers):
    assert digit_dates(np.array(numbers, np.int64)) is None


TIMES = [20240131, 20240301, 20240229]
SECONDS = [1_706_659_200, 1_709_251_200, 1_709_164_800]


def log_file(path, times):
    rows = [{"user": "u", "note": f"n{number}", "time": time} for number, time in enumerate(times)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("user,note,time\n" + "".join("{user},{note},{time}\n".format(**row) for row in rows))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("kind", [int, float, str])
def test_a_column_of_dates_in_digits_is_read_as_dates(suffix, kind, tmp_path):
    log = Interactions.read(log_file(tmp_path / f"l{suffix}", map(kind, TIMES)))
    assert log.times.tolist() == SECONDS
    assert log.ticks_per_second == 1
    assert log.report.changes["times read as dates, like 20240131"] == 3


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_one_that_is_no_date_is_refused(suffix, tmp_path):
    path = log_file(tmp_path / f"l{suffix}", [20240131, 99999999, 20240301])
    where = "row 2" if suffix == ".parquet" else "3" if suffix == ".csv" else "2"
    with pytest.raises(
        DataError, match=f"{where}: time must be a date like 20240131, as most are, but is 99999999"
    ):
        Interactions.read(path)


def test_parts_of_a_log_may_write_dates_otherwise_but_not_mix_them_with_numbers(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    log_file(folder / "a.csv", TIMES)
    log_file(folder / "b.csv", ["2024-01-31", "2024-01-31 00:00:01", "2024-02-29"])
    assert Interactions.read(folder).times.tolist() == [*SECONDS, SECONDS[0], SECONDS[0] + 1, SECONDS[2]]
    log_file(folder / "c.csv", [5, 6, 7])
    with pytest.raises(
        DataError, match="c.csv:2: time must be dates and times without a zone, .* but is numbers"
    ):
        Interactions.read(folder)


def test_what_was_read_is_written_and_read_as_the_same(tmp_path):
    log = Interactions.read(log_file(tmp_path / "l.csv", TIMES))
    log.write(tmp_path / "again.csv")
    again = Interactions.read(tmp_path / "again.csv")
    assert again.times.tolist() == SECONDS
    assert not again.report.changes
