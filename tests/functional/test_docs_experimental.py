"""docs/experimental.md: its settings load, and its requests are answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from draft_kit import drafts
from identity_kit import Key

from midflight.apps.settings import load

DOCS = Path(__file__).parents[2] / "docs" / "experimental.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def forms() -> list[dict[str, str]]:
    """The parameters of each request of the page."""
    return [
        dict(line.split(" = ", 1) for line in text.splitlines())
        for kind, text in BLOCKS
        if kind == "form"
    ]


def test_the_settings_of_the_page_load(tmp_path: Path) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    (tmp_path / "midflight.toml").write_text(text, encoding="utf-8")
    oauth = load(tmp_path / "midflight.toml").oauth
    assert oauth.experimental
    assert [row.issuer for row in oauth.id_jag_issuer] == ["https://login.example.org"]


@pytest.mark.anyio
async def test_the_requests_of_the_page_are_answered(tmp_path: Path) -> None:
    transaction, assertion = forms()
    async with drafts(tmp_path) as made:
        key = Key()
        given = {
            **transaction,
            **made.as_client(),
            "subject_token": await made.access(key),
        }
        answer = await made.server.token(key=key, **given)
        assert answer.status_code == 200, answer.text
        claims = await made.verified(answer.json()["access_token"])
        assert claims["tctx"] == {"action": "refund", "order": 17}
        given = {**assertion, **made.as_client(), "assertion": made.id_jag()}
        answer = await made.server.token(key=key, **given)
        assert answer.status_code == 200, answer.text
