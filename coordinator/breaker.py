"""When a provider's circuit breaker opens and closes. Pure.

It opens when `failures` calls have failed within the window and none went well in between, or at once when
the provider says how long to keep away. Then one probe at a time finds out whether the provider is back;
each that fails doubles the time to the next.
"""

from protocol.options import Breaking
from protocol.providers import Breaker, ProviderReport


def told(breaker: Breaker, report: ProviderReport, rules: Breaking, now_ms: int) -> Breaker:
    """The breaker after a report. While it is not closed, only the probe's word counts, and a plea for
    patience: other calls began before it opened.
    """
    until_ms = _until(report, now_ms)
    if breaker.status == "closed":
        return _told_closed(breaker, report, rules, now_ms, until_ms)
    if breaker.status == "half_open" and report.probe == breaker.probe:
        return _told_by_probe(breaker, report, rules, now_ms, until_ms)
    if until_ms > breaker.until_ms:
        return _opened(breaker, report.reason, now_ms, until_ms)
    return breaker


def _told_closed(
    breaker: Breaker, report: ProviderReport, rules: Breaking, now_ms: int, until_ms: int
) -> Breaker:
    if report.told == "ok":
        return breaker.model_copy(update={"failed_ms": ()}) if breaker.failed_ms else breaker
    if report.told in {"unknown", "due"}:
        return breaker
    oldest_ms = now_ms - rules.window_seconds * 1000
    failed_ms = (*(at for at in breaker.failed_ms if at > oldest_ms), now_ms)
    if until_ms or len(failed_ms) >= rules.failures:
        until_ms = until_ms or now_ms + _pause_ms(rules, 1)
        again = breaker.model_copy(update={"opened": breaker.opened + 1, "openings": 1})
        return _opened(again, report.reason, now_ms, until_ms)
    return breaker.model_copy(update={"failed_ms": failed_ms})


def _told_by_probe(
    breaker: Breaker, report: ProviderReport, rules: Breaking, now_ms: int, until_ms: int
) -> Breaker:
    if report.told == "ok":
        return closed(breaker, now_ms)
    if report.told == "unknown":
        return _opened(breaker, breaker.reason, now_ms, now_ms)
    openings = breaker.openings + 1
    until_ms = until_ms or now_ms + _pause_ms(rules, openings)
    return _opened(breaker.model_copy(update={"openings": openings}), report.reason, now_ms, until_ms)


def probed(breaker: Breaker, token: str, rules: Breaking, now_ms: int) -> Breaker:
    """Grants the probe to `token` where one is due: the breaker then carries it. A probe that has not said
    in time how it went is lost, and the next one may begin.
    """
    if breaker.status == "closed" or now_ms < breaker.until_ms:
        return breaker
    until_ms = now_ms + round(rules.probe_seconds * 1000)
    changes = {"status": "half_open", "probe": token, "until_ms": until_ms, "changed_ms": now_ms}
    return breaker.model_copy(update=changes)


def closed(breaker: Breaker, now_ms: int) -> Breaker:
    """The breaker once calls may go through again."""
    return Breaker(provider=breaker.provider, opened=breaker.opened, changed_ms=now_ms)


def _opened(breaker: Breaker, reason: str, now_ms: int, until_ms: int) -> Breaker:
    changes = {"status": "open", "failed_ms": (), "probe": "", "until_ms": until_ms, "reason": reason}
    changed_ms = breaker.changed_ms if breaker.status == "open" else now_ms
    return breaker.model_copy(update={**changes, "changed_ms": changed_ms})


def _until(report: ProviderReport, now_ms: int) -> int:
    """Until when the provider asks for patience; 0 where it does not say."""
    if report.told != "limited" or not report.retry_after_seconds:
        return 0
    return now_ms + round(report.retry_after_seconds * 1000)


def _pause_ms(rules: Breaking, openings: int) -> int:
    return round(1000 * min(rules.longest_seconds, rules.open_seconds * 2.0 ** min(openings - 1, 30)))
