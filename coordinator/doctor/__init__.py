"""Checks of everything that a swarm needs, each with a fix for its failure."""
