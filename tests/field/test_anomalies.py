"""Names in profiles, numbers in kernels and codes of events are the same filters and detectors."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from fastpath import detectors, filter
from gateway.field.judge import ANOMALY
from gateway.services.words import WORDS
from gateway.site.plan import Detector, Filter
from gateway.site.tuning import DetectorName, FilterName, Tuning


def test_names_numbers_and_kernels_agree():
    assert [name.upper() for name in get_args(DetectorName)] == [one.name for one in Detector]
    assert [name.upper() for name in get_args(FilterName)] == [one.name for one in Filter]
    assert all(getattr(detectors, one.name) == one for one in Detector)
    assert all(getattr(filter, one.name) == one for one in Filter)


def test_every_detector_has_a_code_and_every_code_a_sentence():
    assert set(ANOMALY) == set(Detector) - {Detector.NONE}
    assert set(ANOMALY.values()) <= set(WORDS)


def test_a_site_changes_only_what_it_says():
    profile = Tuning(target=230.0, size=5.0)
    assert profile.but(None) is profile
    assert profile.but(Tuning(size=2.0)) == Tuning(target=230.0, size=2.0)
    with pytest.raises(ValidationError):
        Tuning(size=0.0)
