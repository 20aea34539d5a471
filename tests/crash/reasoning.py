"""A model that lets a ReAct program go on for a number of rounds; a function of its prompt alone."""

import re

from tests.support.model_server import Reply, fields


def play(prompt: str) -> Reply:
    """`keyed rounds=5` in the question: five calls of the keyed tool; `both`: of the tools in turn."""
    made = len(set(re.findall(r"observation_(\d+)", prompt)))
    asked = re.search(r"(keyed|both) rounds=(\d+)", prompt)
    assert asked is not None, prompt
    if "## next_tool_name ##" not in prompt:
        return Reply(fields(reasoning="r", answer=f"{made} observations"))
    if made >= int(asked[2]):
        return Reply(fields(next_thought="done", next_tool_name="finish", next_tool_args={}))
    name = "unsafe_tool" if asked[1] == "both" and made % 2 else "keyed_tool"
    return Reply(fields(next_thought=f"t{made}", next_tool_name=name, next_tool_args={"number": made}))
