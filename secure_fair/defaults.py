"""Values that are taken where none is given, and that more than one part takes."""

DELTA = 1e-5  # of a differential-privacy guarantee: below one in the number of people
TIMEOUT = 60.0  # seconds that a party may be silent
