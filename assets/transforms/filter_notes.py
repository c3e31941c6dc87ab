"""What the k-core filter did, in words for people: on the tables' asset and on the page of results."""

from assets.config import EngagementRule


def core_words(rule: EngagementRule) -> str:
    """The filter in words, with a warning where it looks ahead; empty without one."""
    if not rule.k_core:
        return ""
    counted = (
        "**counted over test time too, so it looks ahead**: the future chose who and what is tested"
        if rule.looks_ahead
        else "counted before the cutoff; who or what comes later is kept"
    )
    passes = "" if rule.k_core_passes is None else f" in {rule.k_core_passes} pass(es), not until all have enough"
    return f"users and items with {rule.k_core} engagements or more each{passes}, {counted}"
