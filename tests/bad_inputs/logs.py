"""Logs of interactions."""

import pyarrow as pa

from bad_inputs import case, jsonl
from bad_inputs.files import parquet

LOG_FILES = [
    case(
        "mine {d} data.interactions=none.csv",
        "none.csv: must be a file or a folder of files, but does not exist",
    ),
    case(
        "mine {d} data.interactions=a.csv",
        "a.csv: column 'user' must be there, but the columns are who, note",
        a__csv="who,note\na,n1\n",
    ),
    case(
        "mine {d} data.interactions=b.csv",
        "b.csv:3: note must be an id of the notes, but is 'zz'",
        b__csv="user,note\na,n1\na,zz\n",
    ),
    case(
        "mine {d} data.interactions=c.csv",
        "c.csv:2: user must be given, but is empty",
        c__csv="user,note\n,n1\n",
    ),
    case(
        "mine {d} data.interactions=e.csv",
        "e.csv:2: event must be view or click, but is 'like'",
        e__csv="user,note,event\na,n1,like\n",
    ),
    case(
        "mine {d} data.interactions=f.csv",
        "f.csv:3: time must be a number with at most nine decimals, or a date and time like "
        "2024-01-02 03:04:05, but is 'soon'",
        f__csv="user,note,time\na,n1,5\na,n2,soon\n",
    ),
    case(
        "mine {d} data.interactions=g.csv",
        "g.csv:2: time must be a date and time like 2024-01-02 03:04:05, but is '2024-13-45'",
        g__csv="user,note,time\na,n1,2024-13-45\n",
    ),
    case(
        "mine {d} data.interactions=h.csv",
        "h.csv:3: time must have a time zone, as the first one has, but is '2024-01-02 00:00:00'",
        h__csv="user,note,time\na,n1,2024-01-02T00:00:00Z\na,n2,2024-01-02 00:00:00\n",
    ),
    case(
        "mine {d} data.interactions=i.parquet",
        "i.parquet: row 1: time must be given, but is null",
        i__parquet=parquet(user=["a"], note=["n1"], time=pa.array([None], pa.int64())),
    ),
    case(
        "mine {d} data.interactions=j.parquet",
        "j.parquet: column 'time' must hold times (numbers, text, dates or timestamps), but holds bool",
        j__parquet=parquet(user=["a"], note=["n1"], time=[True]),
    ),
    case(
        "mine {d} data.interactions=k.csv",
        "k.csv:2: time must be a number with at most nine decimals, or a date and time like "
        "2024-01-02 03:04:05, but is '0.12345678901'",
        k__csv="user,note,time\na,n1,0.12345678901\n",
    ),
    case(
        "mine {d} data.interactions=dd.csv",
        "dd.csv:3: time must be a date like 20240131, as most are, but is 20240230",
        dd__csv="user,note,time\na,n1,20240131\na,n2,20240230\na,n3,20240301\n",
    ),
    case(
        "mine {d} data.interactions=de.jsonl",
        "de.jsonl:1: time must be a date like 20240131235959, as most are, but is 0",
        de__jsonl=jsonl(
            *(
                {"user": "a", "note": f"n{number}", "time": time}
                for number, time in enumerate((0, 20240131235959, 20240201000000))
            )
        ),
    ),
    case(
        "mine {d} data.interactions=l.csv",
        "data.interactions: must relate notes, but mining keeps no pair",
        l__csv="user,note\na,n1\nb,n2\n",
    ),
    case(
        "mine {d} data.interactions=m.jsonl",
        "m.jsonl:2: must be one JSON object, but is damaged",
        m__jsonl='{"user": "a", "note": "n1"}\nx\n',
    ),
]
