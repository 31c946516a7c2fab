"""What was learnt goes on after a restart as if there had been none, and what does not fit is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chain import S, channels, conditions, push

from fastpath.chain import Chain

DETECTORS = list(range(1, 11))
RULE = conditions((0, 0, 5.0, 4.0, 60 * S, 30 * S))


def kinds(**over):
    return channels(detector=DETECTORS, filter=[1] * 5 + [2, 3, 4, 5, 1], **over)


def series(n=600):
    x = np.random.default_rng(3).normal(size=n)
    x[400:] += 2
    return x


@pytest.mark.parametrize("later_s", [0, 500_000])
def test_a_restart_changes_neither_marks_nor_scores(later_s):
    """The second half runs on a new chain, whose clock has begun anew."""
    x, half = series(), 300
    t = (np.arange(600) + 1) * S
    straight = Chain(kinds(), conditions(), start_ns=0, align_ns=10**6 * S)
    before = Chain(kinds(), conditions(), start_ns=0, align_ns=10**6 * S)
    after = Chain(kinds(), conditions(), start_ns=0, align_ns=(10**6 + later_s) * S)
    for c in range(len(DETECTORS)):
        whole = push(straight, t, x, channel=c)
        push(before, t[:half], x[:half], channel=c)
        assert after.restore_learnt(c, before.learnt([c])[c])
        rest = push(after, t[half:] - later_s * S, x[half:], channel=c)
        assert rest.mark.tolist() == whole.mark[half:].tolist()
        np.testing.assert_allclose(rest.score, whole.score[half:], rtol=1e-5, atol=1e-6, err_msg=f"detector {c + 1}")


def test_a_debounced_state_keeps_its_run():
    params = channels(kind=[2], filter=[6], settle_ns=[10 * S])
    old, new = (Chain(params, conditions(), start_ns=0, align_ns=a * S) for a in (0, 100))
    push(old, [1 * S, 2 * S], [0.0, 1.0])
    assert new.restore_learnt(0, old.learnt()[0])
    assert push(new, [(11 - 100) * S, (12 - 100) * S], [1.0, 1.0]).mark.tolist() == [32, 0]


def test_only_channels_that_have_read_have_learnt():
    chain = Chain(channels(kind=[0, 0]), conditions(), start_ns=0)
    push(chain, [S], [1.0], channel=1)
    assert list(chain.learnt()) == [1]
    assert chain.learnt([0]) == {}


def test_a_running_hold_survives():
    chain = Chain(channels(), RULE, start_ns=0, align_ns=0)
    assert chain.conditions_learnt() == {}
    push(chain, [10 * S], [6.0])
    blobs = chain.conditions_learnt()
    after = Chain(channels(), RULE, start_ns=0, align_ns=1000 * S)
    assert after.restore_condition_learnt(0, blobs[0])
    changes = push(after, [(69 - 1000) * S, (70 - 1000) * S], [6.0, 6.0]).changes
    assert changes.since_ns.tolist() == [(10 - 1000) * S]
    other = Chain(channels(), conditions((0, 0, 5.0, 4.0, 61 * S, 30 * S)), start_ns=0)
    assert not other.restore_condition_learnt(0, blobs[0])


@pytest.mark.parametrize(
    "other", [{"detector": [2]}, {"filter": [0]}, {"period_ns": [2 * S]}, {"kind": [1]}, {"size": [1.0]}]
)
def test_what_was_learnt_under_other_settings_is_refused(other):
    chain = Chain(channels(detector=[1], filter=[1]), conditions(), start_ns=0)
    push(chain, [S, 2 * S], [1.0, 2.0])
    blob = chain.learnt()[0]
    same = Chain(channels(detector=[1], filter=[1]), conditions(), start_ns=0)
    assert same.restore_learnt(0, blob)
    assert not Chain(channels(**{"detector": [1], "filter": [1], **other}), conditions(), start_ns=0).restore_learnt(
        0, blob
    )
    fresh = Chain(channels(detector=[1], filter=[1]), conditions(), start_ns=0)
    assert not fresh.restore_learnt(0, blob[:-8])
    assert not fresh.restore_learnt(0, b"\x00" + blob[1:])
    assert not fresh.restore_learnt(0, blob[:-8] + np.array([np.nan]).tobytes())
    assert fresh.learnt() == {}


@settings(deadline=None, derandomize=True, max_examples=50, database=None)
@given(st.binary(max_size=3000))
def test_foreign_bytes_are_refused(blob):
    chain = Chain(channels(detector=[1]), RULE, start_ns=0)
    assert not chain.restore_learnt(0, blob)
    assert not chain.restore_condition_learnt(0, blob)
    assert chain.learnt() == chain.conditions_learnt() == {}
