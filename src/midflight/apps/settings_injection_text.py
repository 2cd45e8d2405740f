"""`[injection_text]`: whether results are looked at for instructions, and by which rules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from midflight.apps.settings_sections import Section


class InjectionTextRules(Section):
    """`[injection_text]`. A label and a weak finding; nothing is blocked by it."""

    # "toolwall" needs the extra: pip install 'midflight[injection]'.
    rules: Literal["off", "toolwall"] = "off"
    # Of its score; lower sees more, and more that is not there.
    threshold: float = Field(default=0.6, gt=0.0, le=1.0)


__all__ = ["InjectionTextRules"]
