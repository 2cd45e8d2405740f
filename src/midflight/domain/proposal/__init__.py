"""What a manifest suggests about a tool: proposed traits, with the evidence for each.

`naming.py` reads names, `rules.py` holds the rules, `values.py` what comes out. Proposals are for a
person to confirm; until then they count as unreviewed. Above: `services/`, `apps/cli/traits.py`.
"""

from __future__ import annotations

from midflight.domain.proposal.rules import propose
from midflight.domain.proposal.values import Evidence, Proposal, Sureness

__all__ = ["Evidence", "Proposal", "Sureness", "propose"]
