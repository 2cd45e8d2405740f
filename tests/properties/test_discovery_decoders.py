"""Whatever an upstream says of its authorization server is decoded or refused cleanly."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed
from midflight.domain.value import JSON
from midflight.wire import json as strict
from midflight.wire.oauth.metadata import (
    MAX_CHALLENGE,
    MAX_LISTED,
    AskedFor,
    read_challenge,
    read_resource,
    read_server,
    resource_urls,
    same_origin,
    scopes_of,
    server_urls,
)

NAMES = st.sampled_from(
    [
        "resource",
        "authorization_servers",
        "scopes_supported",
        "issuer",
        "token_endpoint",
        "authorization_endpoint",
        "registration_endpoint",
        "token_endpoint_auth_methods_supported",
        "code_challenge_methods_supported",
        "authorization_response_iss_parameter_supported",
        "x",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=20)
    | st.sampled_from(["https://as.example", "https://tools.example/mcp", "S256", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
SCOPE = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'),
    min_size=1,
    max_size=20,
)


def decoded(value: JSON) -> None:
    document = strict.as_object(value)
    if document is None:
        return
    for read in (read_resource, read_server):
        try:
            found = read(document)
        except Malformed:
            continue
        for text in found.__struct_fields__:
            kept = getattr(found, text)
            if isinstance(kept, tuple):
                assert len(kept) == len(set(kept)) <= MAX_LISTED
                assert all(isinstance(each, str) and each.isprintable() for each in kept)
            elif isinstance(kept, str):
                assert kept.isascii()
                assert " " not in kept


@given(st.binary(max_size=400))
def test_any_bytes_as_metadata(raw: bytes) -> None:
    try:
        decoded(strict.decode(raw))
    except Malformed:
        return


@given(st.dictionaries(NAMES, VALUES, max_size=11))
def test_any_document_as_metadata(document: dict[str, JSON]) -> None:
    decoded(strict.decode(json.dumps(document).encode()))


@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("latin-1")))
def test_any_text_as_a_challenge(text: str) -> None:
    for header in (text, f"Bearer {text}", f'Bearer scope="{text}"', f"DPoP error={text}, a=b"):
        found = read_challenge(header)
        if found is not None:
            assert all(" " not in scope and scope.isascii() for scope in found.scopes)
            assert found.metadata.isascii()
            assert found.error == "" or found.error.replace("_", "").isalpha()


@given(st.lists(SCOPE, unique=True, max_size=5), st.sampled_from(["Bearer", "bearer", "DPoP"]))
def test_a_challenge_is_read_as_it_was_written(scopes: list[str], scheme: str) -> None:
    where = "https://tools.example/.well-known/oauth-protected-resource/mcp"
    said = f'resource_metadata="{where}", scope="{" ".join(scopes)}", error="insufficient_scope"'
    wanted = AskedFor(metadata=where, scopes=tuple(scopes), error="insufficient_scope")
    for header in (
        f"{scheme} {said}",
        f'Basic realm="a, b", {scheme} {said}',
        f'{scheme} {said}, Basic realm="x"',
        f'{scheme} realm="quoted \\"Basic x=y\\"", {said}',
    ):
        assert read_challenge(header) == wanted, header


def test_a_challenge_of_two_minds_or_of_another_scheme_is_none() -> None:
    assert read_challenge('Basic realm="x"') is None
    assert read_challenge("") is None
    assert read_challenge('Bearer scope="a", scope="b"') is None
    assert read_challenge('Bearer scope="' + "a" * MAX_CHALLENGE + '"') is None
    assert read_challenge('Bearer scope="a' + "\n" + '"; x') is None
    assert read_challenge("Bearer") is None


@given(st.text(max_size=200))
def test_scopes_are_each_there_once(text: str) -> None:
    found = scopes_of(text)
    assert len(found) == len(set(found))
    assert set(found) <= set(text.split(" "))


PATHS = st.lists(st.sampled_from(["a", "tenant", "%2F", "mcp"]), max_size=3).map("/".join)


@given(PATHS, st.sampled_from(["https://a.example", "https://a.example:8443"]))
def test_metadata_is_looked_for_at_the_origin_of_its_identifier(path: str, origin: str) -> None:
    identifier = f"{origin}/{path}" if path else origin
    places = resource_urls(identifier)
    assert places[0][1] == identifier
    for url, named in [*places, *((url, identifier) for url in server_urls(identifier))]:
        assert same_origin(url, origin)
        assert "/.well-known/" in url
        assert identifier.startswith(named)
        assert urlsplit(url).query == ""
    assert len({url for url, _ in places}) == len(places)
    assert len(set(server_urls(identifier))) == (3 if path else 2)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_two_texts_are_of_one_origin_by_accident(one: str, other: str) -> None:
    assert same_origin("https://a.example", "https://a.example:443/x")
    assert not same_origin("https://a.example", "http://a.example")
    assert not same_origin("https://a.example", f"https://a.example:444/{one}")
    same_origin(one, other)
