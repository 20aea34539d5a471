"""Words: those that say nothing about a subject, and those that programmers use for one another."""


def words(text: str) -> list[str]:
    """The words of a list that reads better as a text."""
    return text.split()


STOP_WORDS = frozenset(
    words(
        "a about above after again all also am an and any are as at be because been before being "
        "between both but by can could did do does doing down during each either else ever every "
        "few for from further get gets getting give given gives had happen happened happens has "
        "have having he her here hers him his how however i if in into is it its itself just let "
        "like made make makes many may me might more most much must my need needs no nor not of off "
        "on once one only or other our out over own per please same say says see shall she should "
        "show since so some such take takes tell than that the their them then there these they "
        "thing things this those through to too under until up upon us use used uses using very "
        "want was way ways we were what when where whether which while who whom whose why will with "
        "within without work works would yet you your "
    )
)

_GROUPS = (
    "delete remove unlink erase discard clear",
    "error exception failure fail raise",
    "stop terminate kill abort shutdown finish exit end",
    "start begin launch spawn create",
    "cancel cancellation cancelled abort",
    "suppress swallow ignore silence deny catch",
    "protect shield guard prevent avoid defend",
    "wait block sleep await",
    "limit maximum max bound exceed threshold",
    "big large huge long",
    "send emit dispatch deliver",
    "reach propagate forward pass",
    "read load parse",
    "write dump save store export",
    "encode serialize serialise",
    "decode deserialize deserialise",
    "evict discard oldest drop replace",
    "find search lookup locate",
    "temporary temp tmp",
    "folder directory dir",
    "file path",
    "argument parameter option",
    "default fallback",
    "convert transform translate",
    "check validate verify test",
    "copy duplicate clone",
    "merge join combine concatenate",
    "split divide separate",
    "equal same identical",
    "random arbitrary",
    "thread threading",
    "lock mutex acquire",
    "release unlock",
    "retry repeat again",
    "timeout deadline expire",
    "log logging logger",
    "connect connection open",
    "close disconnect shutdown",
    "child subprocess process",
    "parent ancestor",
    "compare comparison",
    "sort order sorted",
    "memory buffer spool",
    "disk file storage",
    "refuse reject disallow forbid deny",
    "allow permit accept",
    "hide mask",
    "secure safe safety",
    "attack race vulnerability",
    "abbreviation prefix abbreviated",
    "ambiguous ambiguity",
    "insert add append put",
    "element item entry value",
    "full capacity",
    "guess detect infer determine",
    "rewrite inplace",
    "header headers",
    "size length",
    "block statement",
    "certain specified given particular",
    "cope handle handling deal",
)
"""A small thesaurus: each word of a group may stand for the others, at half its weight."""


def _synonyms() -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for group in _GROUPS:
        for word in words(group):
            found.setdefault(word, {}).update(dict.fromkeys(other for other in words(group) if other != word))
    return {word: tuple(others) for word, others in found.items()}


SYNONYMS = _synonyms()

IDIOMS = (
    (r"\bwith[- ](?:block|statement)", "context manager"),
    (r"\bexit code", "returncode"),
    (r"\bcommand[- ]line", "argv"),
    (r"\bregular expression", "regex"),
    (r"\bevent loop", "loop"),
)
"""What a question calls one thing and a program another."""
