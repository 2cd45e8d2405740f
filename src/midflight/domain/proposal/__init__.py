"""What a manifest suggests about a tool: proposed traits, with the evidence for each.

A manifest is the word of whoever serves it. What it says may raise protection and never lower it:
`proposing.py` takes the claims that could lower anything (`claims.py`) out before the rules see the
definition, so that no rule can be talked into it. `naming.py` reads names, `rules.py` holds the
rules, `values.py` what comes out. Proposals are for a person to confirm; until then they count as
unreviewed. Above: `services/`, `apps/control/`, `apps/cli/traits.py`.
"""

from __future__ import annotations

from midflight.domain.proposal.claims import Claims, claims, contradictions
from midflight.domain.proposal.proposing import propose
from midflight.domain.proposal.values import Evidence, Proposal, Sureness

__all__ = [
    "Claims",
    "Evidence",
    "Proposal",
    "Sureness",
    "claims",
    "contradictions",
    "propose",
]
