"""The frontier: which direction to visit next, and why. Pure: no clock, no I/O, no randomness of its own."""
