"""The decisions themselves, by subject. Pure: state, command and environment in, events and effects out."""
