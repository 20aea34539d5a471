"""Proves that what the store holds of a run is what its events have made."""
