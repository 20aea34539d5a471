"""Agents (knowledge sources) and the worker that runs them: it holds a NATS credential and nothing else."""
