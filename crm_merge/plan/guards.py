"""The guards of a plan: their limits by tier, what is blocked, and the evidence that they look at."""

from __future__ import annotations

from crm_merge.plan.columns import Header
from crm_merge.plan.model import Guards, Tier
from crm_merge.spec.mistakes import did_you_mean
from crm_merge.spec.settings import WEAK_TYPES
from crm_merge.spec.settings import Guards as Written

# Different values of another key that may meet on one value of a key.
USUAL_HUBS = {"email": 5, "phone": 3, "linkedin": 5, "external_id": 10, "domain": 3}
ANY_HUB = 5


def guards_of(written: Written, tiers: list[Tier], problems: list[str]) -> Guards:
    """Returns the guards with their defaults, by tier. What is blocked is kept as text: what its keys are, SQL says."""
    labels = [tier.label for tier in tiers if tier.label]
    for label in written.hub or {}:
        if label not in labels and label not in USUAL_HUBS:
            hint = did_you_mean(label, labels)
            problems.append(f"guards.hub.{label}: no key of match_on is called '{label}'{hint}")
    hub: dict[int, int | None] = {}
    contradiction: dict[int, str] = {}
    for tier in tiers:
        usual = USUAL_HUBS.get(str(tier.label), ANY_HUB)
        hub[tier.tier] = None if written.hub is None else written.hub.get(str(tier.label), usual)
        if tier.label in WEAK_TYPES:
            modes = written.contradiction
            contradiction[tier.tier] = "off" if modes is None else modes.get(tier.label, "name")
    blocked = [text.strip() for text in written.blocked]
    return Guards(hub, contradiction, written.max_entity_size, written.allow_test_addresses, blocked)


def evidence_of(guards: Guards, tiers: list[Tier], headers: list[Header]) -> list[Tier]:
    """Returns a tier of e-mails that links nothing, after the last: guards look at them also where match_on does not."""
    is_on = any(guards.hub.values()) or any(mode != "off" for mode in guards.contradiction.values())
    if not is_on or any(tier.label == "email" for tier in tiers):
        return []
    tier = Tier(len(tiers) + 1, "email", "exact", "email")
    for header in headers:
        if header.key_type == "email":
            tier.columns.setdefault(header.k, []).append(header)
    return [tier] if tier.columns else []
