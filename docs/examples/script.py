"""A program in another language as an agent."""

from pathlib import Path

from kinds import Note

from agents.command import command_agent

lines = command_agent("lines", ["sh", str(Path(__file__).with_name("lines.sh"))], publishes=[Note])
