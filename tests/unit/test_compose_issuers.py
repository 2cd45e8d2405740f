"""Keys of an issuer whose certificate is of an authority that the settings name, over real TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from github_kit import github
from pydantic import ValidationError

from midflight.adapters.documents.https import HttpsDocuments
from midflight.apps.compose_issuers import key_sets, key_source
from midflight.apps.settings_oauth import AssertionIssuerSection
from midflight.domain.errors import NoDocument
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


def row(issuer: str, **fields: Any) -> AssertionIssuerSection:
    return AssertionIssuerSection(issuer=issuer, allow_private=True, **fields)


async def test_an_identity_provider_may_have_an_authority_of_its_own(tmp_path: Path) -> None:
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    with github(*ours.issue("provider")) as provider:
        where = provider.issuer
        for ca, believed in ((ours.file, True), (others.file, False), (None, False)):
            section = row(where, ca=ca)
            sets = key_sets({where: section}, documents=HttpsDocuments(), clock=FakeClock())
            asked = sets.jwks(key_source(where, section), kid=provider.key.jkt)
            if believed:
                assert [key["kid"] for key in (await asked)["keys"]] == [provider.key.jkt]
            else:
                with pytest.raises(NoDocument):
                    await asked


def test_what_holds_no_authority_is_told(tmp_path: Path) -> None:
    empty, keys = tmp_path / "empty.pem", tmp_path / "keys.json"
    empty.touch()
    keys.write_text('{"keys": []}', encoding="utf-8")
    for fields, why in (
        ({"ca": empty}, "holds no certificates of authorities"),
        ({"ca": Authority(tmp_path).file, "jwks_file": keys}, "nothing is fetched"),
    ):
        with pytest.raises(ValidationError, match=why):
            row("https://login.example.org", **fields)
