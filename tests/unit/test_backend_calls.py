"""Calls of backends' APIs, and the reading of their settings."""

from __future__ import annotations

from typing import Any

import pytest
from credential_kit import MARKER, Asked, Reply, credential, lease, server
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.credentials.calls import Answer, CallLimits, Calls
from midflight.adapters.credentials.reading import Reading, is_safe_url, require_narrowing
from midflight.domain.errors import Forbidden, Misconfigured, Unavailable

pytestmark = pytest.mark.anyio

LIMITS = CallLimits(bytes=1_000, pause_s=0.0)


@pytest.mark.parametrize(("again", "tries"), [(True, 3), (False, 1)])
async def test_only_what_may_be_repeated_is_repeated(again: bool, tries: int) -> None:
    with server(lambda _: (503, {})) as (url, asked):
        calls = Calls(named="It", limits=LIMITS)
        assert (await calls.send("POST", url, again=again)).status == 503
        assert len(asked) == tries
        await calls.close()


async def test_what_answers_after_all_is_an_answer() -> None:
    statuses = iter([503, 429, 200])

    def answer(_: Asked) -> Reply:
        return next(statuses), {"ok": "yes"}

    with server(answer) as (url, _):
        calls = Calls(named="It", limits=LIMITS)
        assert (await calls.send("GET", url, again=True)).text("ok") == "yes"
        await calls.close()


async def test_no_more_is_read_than_the_limit_and_no_redirect_is_followed() -> None:
    with server(lambda _: (200, b"x" * 1_001)) as (url, asked):
        calls = Calls(named="It", limits=LIMITS)
        with pytest.raises(Unavailable, match="more than 1000 bytes"):
            await calls.send("GET", url, again=True)
        # Unpacking would pass the limit, so nothing packed is asked for.
        assert asked[0].headers["accept-encoding"] == "identity"
        await calls.close()
    with server(lambda one: (302, {}, {"Location": f"http://{one.headers['host']}/x"})) as (url, _):
        calls = Calls(named="It", limits=LIMITS)
        assert (await calls.send("GET", url)).status == 302
        await calls.close()


async def test_silence_is_unavailable_and_a_bad_ca_file_is_said(tmp_path: Any) -> None:
    with server(lambda _: (200, {})) as (url, _):
        pass
    calls = Calls(named="It", limits=LIMITS)
    with pytest.raises(Unavailable, match="It does not answer"):
        await calls.send("POST", f"{url}/{MARKER}")
    await calls.close()
    (tmp_path / "ca.pem").write_text(MARKER)
    for path in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(Misconfigured) as refused:
            Calls(named="It", ca=str(path))
        assert MARKER not in f"{refused.value}{refused.value.__context__}"


@given(st.binary(max_size=200))
def test_any_body_is_an_object_or_an_empty_one(body: bytes) -> None:
    answer = Answer(status=200, headers={}, body=body)
    assert isinstance(answer.json(), dict)
    assert answer.text("a", "b") == ""


SCOPES = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True).map(tuple)


@given(SCOPES, SCOPES, st.booleans())
def test_what_passes_is_never_wider_than_its_credential(
    most: tuple[str, ...], asked: tuple[str, ...], some: bool
) -> None:
    source, wanted = credential("any", {}, scopes=most), lease(scopes=asked)
    try:
        require_narrowing(source, wanted, some=some)
    except Forbidden:
        assert not set(asked) <= set(most) or not asked
    else:
        assert set(asked) <= set(most)
        assert asked or (not most and not some)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://a.example", True),
        ("https://a.example:8443/x?y=1", True),
        ("http://127.0.0.1:8200", True),
        ("http://[::1]:8200", True),
        ("http://localhost", True),
        ("http://a.example", False),
        ("http://localhost.a.example", False),
        ("http://127.0.0.1@a.example", False),
        ("https://user:pw@a.example", False),
        ("https://a.example/#x", False),
        ("https://a.example:99999", False),
        ("https://a.example/\n", False),
        ("https://", False),
        ("file:///etc/passwd", False),
        ("https://[", False),
    ],
)
def test_secrets_are_sent_over_tls_or_to_this_machine(url: str, safe: bool) -> None:
    assert is_safe_url(url) is safe


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), JSON))
def test_any_settings_are_read_or_refused_with_their_names(settings: dict[str, Any]) -> None:
    reading = Reading.of(credential("any", settings))
    reading.text("a", default="", form="x+")
    reading.number("b", default=1, least=0, most=5)
    reading.texts("c")
    reading.reference("d", required=False)
    reading.url("e", default="https://a.example")
    reading.flag("f", default=False)
    reading.section("g", required=False).choice("i", {"x", "y"}, default="x")
    if reading.all_problems():
        assert settings  # nothing is wrong with settings that say nothing
        return
    assert settings.keys() <= set("abcdefg")
    assert None not in settings.values()
    assert set(settings.get("a", "")) <= {"x"}
    assert settings.get("b", 1) in range(6)
    assert isinstance(settings.get("b", 1), int)
    assert all(isinstance(item, str) for item in settings.get("c", []))
    assert settings.get("d", "") == settings.get("e", "") == ""
    assert settings.get("f", False) in (True, False)


def read(settings: dict[str, Any]) -> None:
    with Reading.of(credential("any", settings)) as reading:
        reading.text("a")
        reading.text("b")
        reading.text("k")
        reading.section("g").choice("i", {"x"})


def test_all_problems_are_raised_together() -> None:
    with pytest.raises(Misconfigured) as refused:
        read({"a": None, "b": [1], "g": {"i": "z", "j": 1}, "h": 0})
    assert refused.value.problems == (
        "a is null: leave it out instead",
        "b is not a text",
        "k is missing",
        "h is not known",
        "g.i is not one of x",
        "g.j is not known",
    )


def test_an_id_of_digits_is_a_text_however_it_was_written() -> None:
    with Reading.of(credential("any", {"a": 678910})) as reading:
        assert reading.text("a", form=r"\d{1,20}") == "678910"
