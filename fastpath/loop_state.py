"""The state of inductive loops: what its columns are called. Data only.

number f64[loops, NUMBERS], whole i64[loops, WHOLES], cells f64[loops, taps], rings f64[3, loops, steps].
A step is the mean of a few samples, about 250 a second; indices count steps since the start unless they say sample.
"""

from __future__ import annotations

# columns of number
(
    BASE,  # empty loop, percent
    SPREAD,  # variance of the empty loop around it
    PEAK,
    SUM,  # of the samples of the step that is being filled
    CELL,  # last filled step
    LEVEL,  # smoothed, as measured
    BEFORE1,  # the samples before this one, newest first
    BEFORE2,
    BEFORE3,
    JUMP,  # largest instantaneous jump under the present vehicle
    HELD,  # where the level stands since a jump
    AGAIN,  # height at which the next vehicle may begin
    SLOPE,  # of the empty loop, percent a step
    BASE_ON,  # baseline when the present vehicle came
    NUMBERS,
) = range(15)

# columns of whole
(
    STARTED,
    COUNT,  # samples in the step that is being filled
    VALID,  # samples on end that were neither missing nor open
    OPEN_RUN,
    OPEN_SINCE,  # sample, -1 while the circuit is closed
    OPEN_LAST,
    JUMPS,  # in the present run of jumps
    JUMP_FIRST,  # sample
    JUMP_LAST,
    CHATTERS,
    WATCH,  # sample of a jump after which the level has not moved, -1
    HOLDS,  # 1 once HELD is known
    STUCK,  # 1 while stuck
    OCCUPIED,
    RUN,  # steps above the beginning, or below the end
    RUN_START,
    ON,
    FREE_FROM,  # first step that may count as empty again
    TAKEN,  # steps up to here have gone into the baseline
    WEIGHT,  # steps that the baseline rests on
    BELOW,  # steps on end far below the baseline
    OWN_JUMPS,  # jumps under the present vehicle
    OCCUPIED_STEPS,
    VEHICLES,
    LAST_OFF,
    HIGH,  # last step at which much of the vehicle was above
    UNSEEN,  # steps without samples since the baseline was last sure
    DIPS,  # times that the signal came up again from far below its peak
    TRACKED,  # last step at which drift was seen under a vehicle
    BLIND,  # step up to which what is left of a stuck level is smoothed away
    WHOLES,
) = range(31)

# rings
OWN, CLEAN, HEIGHT = range(3)  # without what neighbours show; the same, NaN while that moves; above the baseline

# columns of rates and runs, from LoopBank
SMOOTH, SLOPE_STEP, STEP_S, THRESHOLD, DRIFT_STEP, SCALE, DELAY, STEEPEST = range(8)
(
    STEP_SAMPLES,
    ON_RUN,
    OFF_RUN,
    LAG,
    GUARD,
    SETTLE,
    BELOW_RUN,
    DRIFT_RUN,
    LONG_RUN,
    FLAT_RUN,
    LOW_RUN,
    BACK_RUN,
    AHEAD_RUN,
    JUMP_GAP,
    STUCK_RUN,
    OPEN_RUN_MIN,
    OPEN_GAP,
    WATCH_SETTLE,
    RUNS,
) = range(19)

# kinds of rows
VEHICLE, STUCK_ON, STUCK_CLEAR, CHATTER_ON, CHATTER_CLEAR, OPEN_ON, OPEN_CLEAR, DOUBTFUL = range(8)

# columns of what goes out
OUT_ON, OUT_OFF, OUT_RISE, OUT_STEEP, OUT_FALL, OUT_PEAK, OUT_WIDTH = range(7)
