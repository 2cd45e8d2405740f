"""`[[signals]]`: who may say by webhook that a run looks wrong, and of whom.

    [[signals]]
    name = "classifier"
    secret = "file:/run/secrets/classifier"
    workloads = ["spiffe://example.org/agents/*"]

`secret` is where the secret is, never the secret. While it is changed, `previous_secret` holds too,
until `previous_until`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from midflight.apps.settings_escalation import Name
from midflight.apps.settings_secrets import End, Secret, check_previous
from midflight.apps.settings_sections import Section
from midflight.domain.finding import Strength
from midflight.domain.signal import SignalSource


class SignalSection(Section):
    """`[[signals]]`: one source."""

    name: Name
    # Where its secret is, whsec_…, or its public key, whpk_…, as Standard Webhooks writes them.
    secret: Secret
    # The one before, while senders change to the new one, and when it ends.
    previous_secret: Secret | None = None
    previous_until: End | None = None
    # Patterns of those it may speak of; where both are given, both must match.
    workloads: tuple[str, ...] = Field(default=(), max_length=64)
    owners: tuple[str, ...] = Field(default=(), max_length=64)
    max_strength: Literal["weak", "fair", "strong"] = "fair"
    per_minute: int = Field(default=60, ge=1, le=6_000)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.workloads and not self.owners:
            raise ValueError("names nobody to speak of: give workloads, owners or both")
        check_previous(self.previous_secret, self.previous_until)
        return self

    def source(self) -> SignalSource:
        """The source as a value."""
        return SignalSource(
            name=self.name,
            workloads=self.workloads,
            owners=self.owners,
            max_strength=Strength[self.max_strength.upper()],
            per_minute=self.per_minute,
        )


def _check_names(sections: tuple[SignalSection, ...]) -> tuple[SignalSection, ...]:
    names = [section.name for section in sections]
    if len(set(names)) != len(names):
        raise ValueError("two of them have the same name")
    return sections


Signals = Annotated[tuple[SignalSection, ...], AfterValidator(_check_names)]
"""All `[[signals]]`."""

__all__ = ["SignalSection", "Signals"]
