"""Agents (knowledge sources) and the worker that runs them. A worker holds a NATS credential and nothing else."""
