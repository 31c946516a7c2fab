"""Mutated CoAP and CBOR at both ends: a short run of what the benchmark does a million times."""

from benchmarks import uplink_fuzz


def test_nothing_crashes_and_nothing_grows() -> None:
    found = uplink_fuzz.run(full=False, mutants=3000)
    assert found["crashes"] == 0, found["crashed_of"]
    assert {"2.04", "4.00", "4.01", "not CoAP", "still waiting", "stream closed"} <= found["answers"].keys()
    assert "5.00" not in found["answers"]
