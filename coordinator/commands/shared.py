"""What verbs do first."""

from coordinator.invocation import Invocation
from coordinator.settings import Settings, load
from protocol import logs
from protocol.settings import Loaded


def prepare(invocation: Invocation) -> Loaded[Settings]:
    """Loads the settings and sets up logging.

    :raises InvalidSettings: naming the option and where its value came from.
    """
    loaded = load(invocation.flags)
    logs.configure(loaded.settings.log.format, loaded.settings.log.level)
    return loaded
