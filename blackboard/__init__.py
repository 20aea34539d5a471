"""The shared board: its events, its state as a fold of them, and the stores that keep both."""
