"""Real servers on this machine: the programs, their configuration, their lifetime. No fakes."""
