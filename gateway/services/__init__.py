"""Verdicts in the city's own words: from channels, conditions and loop waveforms to events.

A service declares its `Condition`s once (they are judged in a kernel, reading by reading) and is called only when one
of them changes. It never reads a device, a clock or a spool.
"""
