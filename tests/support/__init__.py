"""Helpers that every folder of tests shares."""
