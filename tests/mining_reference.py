"""What mining must find, by a dictionary of sums; and random logs of every kind, with options for them."""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import floor, inf, sqrt
from math import log as ln

import numpy as np
from hypothesis import strategies as st

UNIT = 2**40


@dataclass(frozen=True)
class Log:
    users: np.ndarray
    notes: np.ndarray
    user_ids: list[str]
    note_ids: list[str]
    times: np.ndarray | None = None
    events: np.ndarray | None = None
    ordered: bool = True


def make_log(users, notes, times=None, events=None, ordered=True, count=None):
    users, notes = np.array(users, dtype=np.int64), np.array(notes, dtype=np.int64)
    people = [f"u{i}" for i in range(users.max(initial=-1) + 1)]
    catalogue = [f"n{i}" for i in range(count or notes.max(initial=-1) + 1)]
    times = None if times is None else np.array(times, dtype=np.int64)
    events = None if events is None else np.array(events, dtype=np.int8)
    return Log(users, notes, people, catalogue, times, events, ordered)


def nearest(value):
    return floor(value + Fraction(1, 2))


def other_score(score, users, viewers, clickers, people):
    """Scores of a pair that are made of numbers of users alone."""
    apart = viewers * clickers
    return {"count": users, "cosine": users / sqrt(apart), "pmi": max(0.0, ln(users * people / apart))}[score]


def streams_of(log):
    """Note, time and event of each user's events, in order."""
    streams = defaultdict(list)
    for row in np.argsort(log.times, kind="stable") if log.times is not None else range(len(log.users)):
        when = 0 if log.times is None else int(log.times[row])
        event = None if log.events is None else log.events[row]
        streams[log.users[row]].append((int(log.notes[row]), when, event))
    return streams


def reference(
    log,
    *,
    lower,
    upper,
    top,
    min_users,
    max_user_events=0,
    max_gap_seconds=0,
    max_gap_events=0,
    score="notellm",
    swing_alpha=1.0,
    **samples,
):
    """Equation (1) with exact sums; returns [(source, target, units, users)] in the documented order."""
    streams = sampled(streams_of(log), max_user_events, **samples)
    sums, support, viewers, clickers = (defaultdict(int) for _ in range(4))
    people, clicks, supporters = 0, {}, defaultdict(list)
    for user, stream in streams.items():
        if max_user_events and len(stream) > max_user_events:
            continue
        people += 1
        for note in {note for note, _, event in stream if event != 1}:
            viewers[note] += 1
        clicked = clicks[user] = {note for note, _, event in stream if event != 0}
        for note in clicked:
            clickers[note] += 1
        pairs = set()
        for i, (a, seen, event) in enumerate(stream):
            for j, (b, then, other) in enumerate(stream):
                near = not (max_gap_seconds and then - seen > max_gap_seconds)
                near &= not (max_gap_events and j - i > max_gap_events)
                if a != b and event != 1 and other != 0 and (not log.ordered or (j > i and near)):
                    pairs.add((a, b))
        for pair in pairs:
            sums[pair] += nearest(Fraction(UNIT, len(clicked)))
            support[pair] += 1
            supporters[pair].append(user)
    if score == "swing":
        sums = {pair: swing(users, clicks, swing_alpha) for pair, users in supporters.items()}
    elif score != "notellm":
        sums = {
            (a, b): nearest(Fraction(other_score(score, users, viewers[a], clickers[b], people)) * UNIT)
            for (a, b), users in support.items()
        }
    return best_of(sums, support, lower, upper, top, min_users)


def best_of(sums, support, lower, upper, top, min_users):
    """What is within the bounds, the best `top` of each source."""
    low, high = nearest(Fraction(lower) * UNIT), inf if upper == inf else nearest(Fraction(upper) * UNIT)
    kept = [p for p in sums if support[p] >= min_users and low <= sums[p] <= high]
    kept.sort(key=lambda p: (p[0], -sums[p], p[1]))
    rank = defaultdict(int)
    result = []
    for pair in kept:
        rank[pair[0]] += 1
        if not top or rank[pair[0]] <= top:
            result.append((*pair, sums[pair], support[pair]))
    return result


def swing(users, clicks, alpha):
    """The Swing score of a pair with these supporters, in units (arXiv 2010.05525; each pair of users once)."""
    weight = {user: 1 / sqrt(len(clicks[user])) for user in users}
    terms = [weight[u] * weight[v] / (alpha + len(clicks[u] & clicks[v])) for u, v in combinations(users, 2)]
    return sum(round(term * UNIT) for term in terms)


def word(*parts):
    """`random_word` of the core, with a draw of 0."""
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15
    state = golden
    for part in (*parts, 0):
        state = ((state ^ int(part)) + golden) & mask
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state


def sampled(streams, max_user_events=0, sample_user_notes=0, sample_note_users=0, sample_seed=0):
    """The streams without the events that the samples leave out; too long users are in no sample."""
    kept = {}
    for user, stream in streams.items():
        if max_user_events and len(stream) > max_user_events:
            continue
        notes = sorted({note for note, *_ in stream}, key=lambda note: word(sample_seed, 1, user, note))
        chosen = set(notes[: sample_user_notes or None])
        kept[user] = [event for event in stream if event[0] in chosen]
    users_of = defaultdict(set)
    for user, stream in kept.items():
        for note, *_ in stream:
            users_of[note].add(user)
    for note, users in users_of.items():
        ordered = sorted(users, key=lambda user: word(sample_seed, 2, note, user))
        for user in ordered[sample_note_users:] if sample_note_users else []:
            kept[user] = [event for event in kept[user] if event[0] != note]
    return {user: stream for user, stream in kept.items() if stream}


@st.composite
def logs(draw):
    size = draw(st.integers(0, 60))
    column = lambda low, high: draw(st.lists(st.integers(low, high), min_size=size, max_size=size))  # noqa: E731
    times = draw(st.booleans()) and column(-5, draw(st.sampled_from([-5, 3, 1000])))
    events = draw(st.booleans()) and column(0, 1)
    notes = column(0, draw(st.integers(0, 9)))
    ordered = draw(st.booleans())
    users = column(0, draw(st.integers(0, 5)))
    return make_log(users, notes, times or None, events or None, ordered=ordered, count=12)


@st.composite
def options(draw, log):
    chosen = {
        "lower": draw(st.sampled_from([0.0, 0.01, 1 / 3, 0.5, 0.75])),
        "upper": draw(st.sampled_from([0.75, 1.0, 1.5, 30.0, inf])),
        "top": draw(st.integers(0, 4)),
        "min_users": draw(st.integers(1, 3)),
        "max_user_events": draw(st.sampled_from([0, 0, 1, 5, 10])),
        "score": draw(st.sampled_from(["notellm", "notellm", "count", "cosine", "pmi", "swing", "swing"])),
        "sample_user_notes": draw(st.sampled_from([0, 0, 1, 2, 5])),
        "sample_note_users": draw(st.sampled_from([0, 0, 1, 2, 4])),
        "sample_seed": draw(st.integers(0, 3)),
        "swing_alpha": draw(st.sampled_from([0.0, 1.0, 1.0, 2.5])),
    }
    if chosen["score"] == "swing":
        chosen["sample_note_users"] = chosen["sample_note_users"] or 100
    if log.ordered:
        chosen["max_gap_events"] = draw(st.sampled_from([0, 0, 1, 3]))
        chosen["max_gap_seconds"] = draw(st.sampled_from([0, 0, 1, 4])) if log.times is not None else 0
    return chosen
