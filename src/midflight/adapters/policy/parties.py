"""Parties: who asks for what, as Cedar takes it. A question is its parties and its context.

Made once for the facts they say and then only looked up: every question of a workload about a tool
has the same. Below: `seats.py`. Above: `generation.py`, which keeps them, and `answers.py`.
"""

from __future__ import annotations

import cedarpy

from midflight.adapters.policy.seats import Plan
from midflight.domain.value import JSONObject


class Parties:
    """A question without its context. Never changed; equal to itself alone.

    Attributes:
        plan: the policies and the schema to ask with.
        entities: the workload, its team, the resource and its upstream.
        request: the ids of principal, action and resource.
    """

    __slots__ = ("entities", "plan", "request")

    def __init__(self, *, plan: Plan, entities: cedarpy.Entities, request: JSONObject) -> None:
        self.plan = plan
        self.entities = entities
        self.request = request


__all__ = ["Parties"]
