"""Questions over standard-library modules, each with text that answers it.

Written before the retrieval was tuned. `TUNED` was looked at while tuning; `HELD_OUT` was not.
An anchor is text of the source itself (any of them counts), so that it is found at run time in
whichever Python runs the tests.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    text: str
    module: str
    """Path below the library folder of a file, or a package, that holds the answer."""
    anchors: tuple[str, ...]


TUNED = (
    Question(
        "How does asyncio propagate cancellation, and what can suppress it?",
        "asyncio",
        ("has a chance to clean up or even deny",),
    ),
    Question(
        "How can an awaitable be protected from cancellation in asyncio?",
        "asyncio",
        ("Wait for a future, shielding it from cancellation.",),
    ),
    Question(
        "How does json treat NaN and infinity when serializing, and how can that be refused?",
        "json",
        ("If ``allow_nan`` is false",),
    ),
    Question(
        "How do I get the n largest elements of an iterable with heapq without sorting everything?",
        "heapq.py",
        ("Find the n largest elements in a dataset.",),
    ),
    Question(
        "How can a with block ignore certain exceptions?",
        "contextlib.py",
        ("Context manager to suppress specified exceptions",),
    ),
    Question(
        "When does SpooledTemporaryFile move its data from memory to disk?",
        "tempfile.py",
        ("to a real file when it exceeds", "def _check("),
    ),
    Question(
        "What happens when the timeout expires while waiting for a child process with subprocess.run?",
        "subprocess.py",
        (
            "If timeout is given, and the process takes too long",
            "If timeout (seconds) is given and the process takes too long",
            "if the process takes too long",
            "This exception is raised when the timeout expires while waiting for a",
        ),
    ),
    Question(
        "How does a log record reach the handlers of parent loggers?",
        "logging/__init__.py",
        ("Loop through all handlers for this logger and its parents",),
    ),
    Question(
        "How can a sqlite3 database be exported as SQL statements?",
        "sqlite3",
        ("dump of the database in an SQL text format",),
    ),
    Question(
        "Which entry does lru_cache evict when the cache is full?",
        "functools.py",
        ("Use the old root to store the new key and result.",),
    ),
    Question(
        "How are absolute paths and drive letters handled when zipfile extracts a member?",
        "zipfile",
        ("interpret absolute pathname as relative, remove drive letter",),
    ),
    Question(
        "How does shutil.rmtree defend against symlink attacks?",
        "shutil.py",
        ("avoids_symlink_attacks", "This can only happen if someone replaces"),
    ),
    Question(
        "Does Condition.wait release the lock while it waits, and take it again afterwards?",
        "threading.py",
        ("re-acquires the lock and returns", "This method releases the underlying lock"),
    ),
    Question(
        "How does argparse report an ambiguous abbreviation of an option?",
        "argparse.py",
        ("ambiguous option: %(option)s could match %(matches)s",),
    ),
)

HELD_OUT = (
    Question(
        "How does socketserver handle each request in its own thread?",
        "socketserver.py",
        ("Start a new thread to process the request.",),
    ),
    Question(
        "What happens when an item is put into a full queue and the timeout runs out?",
        "queue.py",
        (
            "raises\n        the Full exception if no free slot was available within that time",
            "Full exception if no free slot",
        ),
    ),
    Question(
        "How does random draw a sample without replacement?",
        "random.py",
        ("Chooses k unique random elements from a population",),
    ),
    Question(
        "Where does bisect insert an element if equal ones are already in the list?",
        "bisect.py",
        (
            "all e in a[:i] have e <= x",
            "If x is already in a, insert it to the right",
            "If x is already in a, insert it to the left",
        ),
    ),
    Question(
        "How does the csv Sniffer guess the delimiter?",
        "csv.py",
        ("The delimiter /should/ occur the same number of times",),
    ),
    Question(
        "What makes the thread pool's worker threads finish at interpreter exit?",
        "concurrent/futures/thread.py",
        ("_register_atexit(_python_exit)", "def _python_exit"),
    ),
    Question(
        "How does deepcopy cope with recursive objects?",
        "copy.py",
        ("keeping a table of objects already copied", "recursive objects (compound objects that"),
    ),
    Question(
        "What does http.client do when a header line is too long?",
        "http/client.py",
        ("if len(line) > _MAXLINE", "LineTooLong("),
    ),
    Question(
        "How do I make a random token that is safe in URLs?",
        "secrets.py",
        ("Return a random URL-safe text string",),
    ),
    Question(
        "How does fileinput rewrite a file in place and keep a backup?",
        "fileinput.py",
        ("Optional in-place filtering", "the file is moved to a backup"),
    ),
)
