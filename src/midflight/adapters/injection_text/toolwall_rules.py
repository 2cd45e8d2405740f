"""The rules of `toolwall-guard` (pip extra `injection`), without its model.

Its patterns, its look at invisible characters and its look at links that carry data out. What it
says is a sign and no proof: see `docs/detectors.md` for what was measured. Only imported where the
settings ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.errors import Misconfigured


class ToolwallRules:
    """An `InjectionText`."""

    def __init__(self, *, threshold: float = 0.6) -> None:
        """`threshold`: of its score, 0 to 1; 0.6 is its own.

        Raises:
            Misconfigured: it is not installed.
        """
        try:
            from toolwall.detect import CompositeDetector  # noqa: PLC0415 -- an optional extra
        except ImportError:
            raise Misconfigured(
                "injection_text.rules is toolwall, and toolwall-guard is not installed.",
                hint="Install midflight[injection], or take the setting out.",
            ) from None
        self._detector = CompositeDetector(use_judge=False)
        self._threshold = threshold

    def kinds(self, text: str) -> Sequence[str]:
        """Kinds of what it takes for instructions, sorted; none if nothing is."""
        score, hits = self._detector.score(text)
        if score < self._threshold:
            return ()
        return sorted({str(hit["kind"]) for hit in hits if hit["score"] >= self._threshold})


__all__ = ["ToolwallRules"]
