"""The main job: research over the user's own files, as four agents.

`plan` turns a question into directions, `explore` visits one, `verify` checks what was quoted,
`report` writes the answer. Without a model they work extractively; no model library is loaded then.
"""

from agents.agent import Agent
from agents.research.explorer import explore
from agents.research.planner import plan
from agents.research.reporter import report
from agents.research.verifier import verify

AGENTS: tuple[Agent, ...] = (plan, explore, verify, report)

__all__ = ["AGENTS", "explore", "plan", "report", "verify"]
