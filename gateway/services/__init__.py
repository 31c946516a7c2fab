"""Verdicts in the city's own words: from channels, conditions and loop waveforms to events.

A service declares its `Condition`s once (they are judged in a kernel, reading by reading) and is called only when one
of them changes. A `Watch` judges channels that only make sense together, row by row. Neither reads a device, a clock
or a spool. One package a family; their sentences are in `words`.
"""
