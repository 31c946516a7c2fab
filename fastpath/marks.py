"""What filters say about one reading, as bits of a u8. A mark never changes or hides a value."""

RANGE = 1  # outside the believable range of its profile
STEP = 2  # further from the reading before, or faster, than the profile believes
SPIKE = 4  # an outlier among its last eleven
STALE = 8  # its time is not after that of the reading before: a duplicate, or a clock that stepped back
MISSING = 16  # no number: NaN, infinite, or quality 128 and worse
FILTERED = 32  # the profile's filter put another value in its place for windows, conditions and detectors

# What these mean for the quality of a window (a larger code is worse; 128 and above: no number)
SUSPECT = 32
OUT_OF_RANGE = 64
NO_NUMBER = 128
