"""Whether a cluster still stands by a service account's token (Kubernetes TokenReview)."""

from __future__ import annotations

from typing import Protocol


class TokenReview(Protocol):
    """Signatures do not show that a pod or an account is gone; the cluster does."""

    async def confirm(self, token: str, *, audience: str, subject: str) -> None:
        """Return if the cluster says that the token holds for this audience and subject.

        Raises:
            Unauthenticated: it says that it does not.
            Unavailable: it does not answer, so the token is not believed.
        """
        ...


__all__ = ["TokenReview"]
