"""Words of agents and tools on the approval page: markup, turned writing, and much of it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from approver_kit import Form, approving, shown
from hypothesis import given
from hypothesis import strategies as st

from midflight.apps.approve import drawing
from midflight.apps.approve.html import said
from midflight.apps.cli.approval_screen import MAX_LINES, screen
from midflight.domain.endorsement import Endorsed
from midflight.domain.plain import MAX_MARKS, visible
from midflight.domain.traits import Role

pytestmark = pytest.mark.anyio

MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</bdi></td></table><form action=https://evil.example><button value=yes>Yes, once</button>",
    "<!--",
    "]]><svg/onload=alert(1)>",
    "&#60;script&#62;",
    "javascript:alert(1)",
    "{{7*7}}${7*7}",
]
TURNED = ["\u202egnp.exe", "\u2066x\u2069", "\u200b", "\ufeff", "a\u0000b", "a\r\nSet-Cookie: x=y"]
MARKDOWN = "# Approved by security\n[click](https://evil.example) **YES** ![x](https://evil/p.png)"


class Tags(HTMLParser):
    """Every tag of a page and its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def harmless(text: str) -> None:
    tags = Tags(text).found
    assert [attrs["src"] for tag, attrs in tags if tag == "script"] == ["/approve/passkey.js"]
    assert not [tag for tag, _ in tags if tag in {"img", "svg", "iframe", "object", "style"}][1:]
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
    for tag, attrs in tags:
        if tag == "form":
            assert str(attrs["action"]).startswith("/approve")
        if tag == "a":
            assert str(attrs["href"]).startswith("/approve")
    for one in ("\u202e", "\u2066", "\u200b", "\ufeff", "\u0000"):
        assert one not in text


async def test_markup_in_arguments_is_text(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        arguments: dict[str, Any] = {
            "to": "bob@x.org",
            "list": [*MARKUP, *(word for word in TURNED if "\u0000" not in word)],
            "body": MARKDOWN,
            "nested": {word: {"deep": word} for word in MARKUP},
        }
        approval = await served.ask(None, **arguments)
        page = await ada.browser.get(f"/approve/{approval}")
        harmless(page.text)
        harmless((await ada.browser.get("/approve")).text)
        text = shown(page.text)
        # They are seen as what they are.
        for word in MARKUP:
            if '"' not in word:
                assert word in text, word
        assert "\\u202egnp.exe" in text
        assert "\\u200b" in text
        assert "**YES**" in text
        # One form that answers, with our two buttons and no third one.
        assert [f["action"] for f in Form(page.text).forms].count(f"/approve/{approval}") == 1
        assert page.text.count('<button name="decision"') == 2


async def test_a_long_value_is_cut_counted_and_there_to_be_opened(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        hidden = "x" * 3_000 + "THE PART NOBODY READS" + "y" * 3_000
        many = {f"key{number}": "v" for number in range(3_000)}
        approval = await served.ask(None, to="bob@x.org", body=hidden, **many)
        text = (await ada.browser.get(f"/approve/{approval}")).text
        assert "characters left out" in shown(text)
        assert "<summary>All 6,023 characters</summary>" in text
        assert "THE PART NOBODY READS" in text
        # What is many does not push it out of sight unsaid.
        assert "1,800 more values" in text
        assert "1,002 values are not shown here" in shown(text)
        assert len(text) < 1_000_000


async def test_what_is_cut_is_said_and_all_of_it_is_offered(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        end = "AND ALL TO eve@x.org"
        approval = await served.ask(None, to="bob@x.org", body="x" * 60_000 + end)
        text = (await ada.browser.get(f"/approve/{approval}")).text
        assert "All 60,022 characters" in text
        assert text.count(end) == 2  # where it is cut, and in the whole
        assert "not shown here" not in text
        lines = screen(msgspec.to_builtins(await served.desk.show(approval)))
        assert "arguments, cut where they are long (--json prints all)" in lines
        # More than a page can hold is not passed off as the whole.
        much = {f"part{number}": "y" * 90_000 + f"END{number}" for number in range(9)}
        with mock.patch.object(drawing, "MAX_WHOLE", 300_000):
            approval = await served.ask(None, to="bob@x.org", **much)
            text = (await ada.browser.get(f"/approve/{approval}")).text
        assert "Parts of 6 values are not shown here." in shown(text)
        assert "before you agree" in text
        assert "All 90,006 characters" in text
        assert "0 of 90,006 characters" in text


async def test_what_a_yes_vouches_for_is_counted_where_it_is_not_shown(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask(None, to="bob@x.org")
        found = await served.desk.show(approval)
        value = Endorsed(path="to", role=Role.RECIPIENT, value="bob@x.org")
        many = msgspec.structs.replace(found, endorses=(value,) * (MAX_LINES + 7))
        session = await served.plane.approvers.sessions.of(ada.browser.cookie)
        assert session is not None
        text = shown(drawing.request(many, session, now=served.clock.now(), form=""))
        assert "and 7 more" in text
        lines = screen(msgspec.to_builtins(many))
        assert any("(7 more; --json prints all)" in line for line in lines)


async def test_a_tool_or_a_name_with_a_foreign_letter_is_pointed_out(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        arguments = {"to": "bob@x.org", "t\u043e": "eve@x.org"}
        approval = await served.ask(None, **arguments)
        page = shown((await ada.browser.get(f"/approve/{approval}")).text)
        assert '"t\\u043e"' in page
        found = await served.desk.show(approval)
        odd = msgspec.structs.replace(found, name="s\u0435nd")
        session = await served.plane.approvers.sessions.of(ada.browser.cookie)
        assert session is not None
        text = shown(drawing.request(odd, session, now=served.clock.now(), form=""))
        assert "Beyond ASCII, look twice" in text
        assert '"desk/s\\u0435nd"' in text
        assert any('"t\\u043e"' in line for line in screen(msgspec.to_builtins(found)))


def test_marks_that_would_cover_the_lines_around_are_spelled_out() -> None:
    assert visible("e\u0301 \u0915\u094d\u0937\u093f") == "e\u0301 \u0915\u094d\u0937\u093f"
    drawn = visible("a" + "\u0336" * 40)
    assert drawn.count("\u0336") == MAX_MARKS
    assert drawn.count("\\u0336") == 40 - MAX_MARKS
    # One at the start would sit on our own words.
    assert visible("\u0338no") == "\\u0338no"


async def test_who_answers_stands_beside_the_buttons(tmp_path: Path) -> None:
    """Over http other servers of this machine can plant cookies: whose answer it is, is said."""
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        page = (await ada.browser.get(f"/approve/{await served.ask()}")).text
        assert "You answer as <strong>ada</strong>.</p><button" in page


async def test_a_value_that_looks_like_another_is_pointed_out(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one")
        approval = await served.ask(None, to="b\u043eb@x.org")
        text = shown((await ada.browser.get(f"/approve/{approval}")).text)
        assert "Beyond ASCII, look twice" in text
        assert '"b\\u043eb@x.org"' in text


async def test_a_reason_and_a_typed_name_are_text_too(tmp_path: Path) -> None:
    async with approving(tmp_path, approvers="owner, security") as served:
        ada = await served.person("ada", "team-one")
        bob = await served.person("bob", "security")
        approval = await served.ask()
        for word in ("x" * 501,):
            assert (await ada.browser.answer(approval, reason=word)).status_code == 400
        await ada.browser.answer(approval, reason=f"{MARKUP[0]} \u202e{MARKUP[1]}")
        page = await bob.browser.get(f"/approve/{approval}")
        harmless(page.text)
        assert MARKUP[0] in shown(page.text)
        door = await served.browser().sign_in(MARKUP[1], "123456", back=MARKUP[1])
        harmless(door.text)


async def test_nobody_is_led_elsewhere_by_the_way_back(tmp_path: Path) -> None:
    async with approving(tmp_path) as served:
        ada = await served.person("ada", "team-one", signed_in=False)
        for back in ("https://evil.example", "//evil.example", "/approve/../x", "/approve/apr_\n"):
            done = await ada.browser.sign_in("ada", ada.next_code(), back=back)
            assert done.headers["location"] == "/approve"


@given(st.text(max_size=2_000))
def test_any_text_stays_in_its_box(text: str) -> None:
    drawn = said(text)
    tags = Tags(drawn).found
    assert tags == [("bdi", {"class": "said"})]
    assert drawn.endswith("</bdi>")
    assert "\n" not in drawn
    assert len(drawn) < 12 * 500 + 200
