"""The error tree is drawn from the classes, and every error says who must act and how."""

import inspect
import re
from collections.abc import Iterator

import protocol.errors
from protocol.errors import InvalidMessage, MessageTooLarge, SwarmError, UnsupportedVersion


def drawn(kind: type[BaseException], indent: str = "") -> Iterator[str]:
    own = [child for child in kind.__subclasses__() if child.__module__ == protocol.errors.__name__]
    for child in own:
        last = child is own[-1]
        yield indent + ("└── " if last else "├── ") + child.__name__
        yield from drawn(child, indent + ("    " if last else "│   "))


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    root, *branches = re.findall(
        r"^SwarmError|^[│ ]*[├└]── \w+", inspect.getdoc(protocol.errors) or "", re.MULTILINE
    )
    assert root == "SwarmError"
    assert branches == list(drawn(SwarmError))


def test_an_invalid_message_names_field_problem_and_remedy() -> None:
    error = InvalidMessage("body.reward", "it is 1.1", "send a number from 0 to 1")
    assert str(error) == "body.reward: it is 1.1; send a number from 0 to 1"


def test_a_body_too_large_says_both_sizes() -> None:
    assert "2,000 bytes are more than the limit of 1,000" in str(MessageTooLarge("body", 2000, 1000))


def test_an_unsupported_version_says_which_are_supported() -> None:
    assert "reads major versions 1, 2" in str(UnsupportedVersion("version", "3.0", (1, 2)))
