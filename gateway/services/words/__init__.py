"""Every event code with its sentences, one file a family."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.services.words import air, anomaly, health, machine, streetlight, traffic, water

WORDS: dict[str, Word] = {
    **water.WORDS,
    **streetlight.WORDS,
    **air.WORDS,
    **traffic.WORDS,
    **machine.WORDS,
    **anomaly.WORDS,
    **health.WORDS,
}
