from __future__ import annotations

import contextlib
import os
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.apps import settings_file
from midflight.apps.cli.template import TEMPLATE
from midflight.apps.durations import moment, seconds
from midflight.apps.settings import Settings, load
from midflight.apps.settings_export import Export
from midflight.apps.settings_sections import Limits
from midflight.apps.settings_values import address, option_looks_secret, reference
from midflight.domain.errors import Misconfigured
from midflight.domain.traits import Reach

REMOTE = '[[upstream]]\nname = "a"\nurl = "https://x.org"\n'
SECRET = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MIDFLIGHT_"):
            monkeypatch.delenv(name)


def write(directory: Path, text: str) -> Path:
    file = directory / "midflight.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problems_of(directory: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(Misconfigured) as caught:
        load(write(directory, text))
    return caught.value.problems


def test_an_empty_file_gives_secure_defaults(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ""))
    assert str(settings.gateway.listen) == "127.0.0.1:8600"
    assert settings.gateway.tls is None
    assert settings.public_url == "http://127.0.0.1:8600"
    assert settings.issuer == settings.public_url
    assert settings.state.directory == tmp_path / ".midflight"
    assert settings.control_socket == tmp_path / ".midflight" / "control.sock"
    assert settings.policy.directory == tmp_path / "policies"
    assert settings.traits.directory == tmp_path / "traits"
    assert set(settings.control.operators) == {os.getuid()}
    assert settings.control.listen is None
    assert settings.telemetry.otlp_endpoint is None
    assert settings.upstream == ()


def test_the_template_of_init_loads_and_gives_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, TEMPLATE)) == load(write(tmp_path, ""))


def _uncommented(text: str) -> str:
    """The template with every commented key and table switched on."""
    lines = []
    for line in text.split("\n"):
        bare = line.removeprefix("# ") if line.startswith("# ") else line
        code = bare.startswith("[") or (" = " in bare and bare.split(" = ")[0].isidentifier())
        lines.append(bare if code else line)
    return "\n".join(lines)


def test_every_setting_stands_in_the_template(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    for name in (
        "cert.pem",
        "key.pem",
        "clients.pem",
        "tickets-ca.pem",
        "bao-ca.pem",
        "logs-ca.pem",
        "chat-ca.pem",
    ):
        (tmp_path / "tls" / name).touch()
    settings = load(write(tmp_path, _uncommented(TEMPLATE)))

    def check(value: object, where: str) -> None:
        for name in type(value).model_fields:  # type: ignore[attr-defined]
            assert name in value.model_fields_set, f"{where}.{name} is not in the template"  # type: ignore[attr-defined]
            inner = getattr(value, name)
            if hasattr(type(inner), "model_fields"):
                check(inner, f"{where}.{name}")

    for section in (
        "gateway",
        "state",
        "policy",
        "traits",
        "identity",
        "keys",
        "oauth",
        "runs",
        "control",
        "approvals",
        "escalation",
        "break_glass",
        "telemetry",
        "elsewhere",
        "injection_text",
    ):
        check(getattr(settings, section), section)
    told = {name for entry in settings.export for name in entry.model_fields_set}
    assert told == set(Export.model_fields), "what an [[export]] can have is not in the template"
    given = {name for entry in settings.upstream for name in entry.model_fields_set}
    assert given == set(type(settings.upstream[0]).model_fields)
    # Of tables by name, the entries together show every setting.
    for tables in (settings.channels, settings.contacts, settings.hooks):
        shown = {name for entry in tables.values() for name in entry.model_fields_set}
        known = {name for entry in tables.values() for name in type(entry).model_fields}
        assert shown == known


def test_the_values_of_the_template_are_the_defaults(tmp_path: Path) -> None:
    text = (
        "[gateway.limits]" + _uncommented(TEMPLATE).split("[gateway.limits]")[1].split("[state]")[0]
    )
    assert load(write(tmp_path, text)).gateway.limits == Limits()


def test_every_problem_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        """[gateway]
listen = "0.0.0.0:8600"
lissten = 1

[identity]
token_ttl = "2h"

[runs]
ttl = "soon"

[[upstream]]
name = "git"
command = "mcp-server-git"

[[upstream]]
name = "Mail!"
url = "https://mail.example.org/mcp"

[other]
x = 1
""",
    )
    text = "\n".join(problems)
    for expected in (
        "midflight.toml:2: gateway.listen",
        "midflight.toml:3: gateway.lissten: is not a setting",
        "midflight.toml:6: identity.token_ttl",
        "midflight.toml:9: runs.ttl",
        "midflight.toml:16: upstream[1].name",
        "other: is not a setting",
        "gateway.public_url",
    ):
        assert expected in text
    assert len(problems) == 7


def test_problems_between_sections_show_even_when_values_are_wrong(tmp_path: Path) -> None:
    text = "\n".join(
        problems_of(
            tmp_path,
            '[gateway]\nlisten = "192.0.2.1:1"\n[[upstream]]\nname = "A"\ncommand = "x"\n',
        )
    )
    assert "is not set; tokens would travel in the clear" in text
    assert "upstream[0].name" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "[::]", "[2001:db8::1]"])
def test_a_listener_beyond_loopback_needs_tls(tmp_path: Path, host: str) -> None:
    assert any(
        "gateway.tls" in problem
        for problem in problems_of(tmp_path, f'[gateway]\nlisten = "{host}:8600"\n')
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "127.9.9.9", "localhost"])
def test_a_loopback_listener_needs_none(tmp_path: Path, host: str) -> None:
    assert load(write(tmp_path, f'[gateway]\nlisten = "{host}:8600"\n')).gateway.listen.loopback


def test_with_tls_a_wider_listener_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    (tmp_path / "key.pem").touch()
    settings = load(
        write(
            tmp_path,
            """[gateway]
listen = "0.0.0.0:443"
public_url = "https://gw.example.org/"
[gateway.tls]
certificate = "cert.pem"
key = "key.pem"
""",
        )
    )
    assert settings.public_url == "https://gw.example.org"
    assert settings.gateway.tls is not None
    assert settings.gateway.tls.key == tmp_path / "key.pem"


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, '[gateway.tls]\ncertificate = "a.pem"\nkey = "b.pem"\n')
    assert [problem.split(" ")[0] for problem in problems] == [
        "midflight.toml:2:",
        "midflight.toml:3:",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://gw.example.org",
        "ftp://x",
        "https://u:p@gw.example.org",
        "https://gw.example.org?a=b",
    ],
)
def test_a_public_url_that_would_leak_or_mislead_is_refused(tmp_path: Path, url: str) -> None:
    assert problems_of(tmp_path, f'[gateway]\npublic_url = "{url}"\n')


def test_the_control_api_is_never_offered_to_a_network(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, '[control]\nlisten = "192.0.2.1:8601"\n')
    assert "control.listen" in problem


@pytest.mark.parametrize(
    "operators", ["{}", '{ "-1" = "x" }', '{ "0" = "" }', '{ "0" = "a\\u202eb" }']
)
def test_operators_that_name_nobody_are_refused(tmp_path: Path, operators: str) -> None:
    (problem,) = problems_of(tmp_path, f"[control]\noperators = {operators}\n")
    assert "control.operators" in problem


@pytest.mark.parametrize("domain", ["*.example.org", "example", "a@example.org", "x.org:80", ""])
def test_a_domain_that_would_match_nothing_or_all_is_refused(tmp_path: Path, domain: str) -> None:
    (problem,) = problems_of(tmp_path, f'[flow]\nown_domains = ["{domain}"]\n')
    assert "write whole names, no wildcards" in problem


def test_own_domains_are_compared_without_case(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[flow]\nown_domains = ["Example.ORG"]\n'))
    assert settings.flow.own_domains == ("example.org",)


def test_upstream_names_are_unique(tmp_path: Path) -> None:
    (problem,) = problems_of(
        tmp_path, '[[upstream]]\nname="a"\ncommand="x"\n[[upstream]]\nname="a"\ncommand="y"\n'
    )
    assert "'a' is given 2 times" in problem


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "either url or command"),
        ('url="https://x.org"\ncommand="y"', "either url or command"),
        ('url="https://x.org"\nargs=["y"]', "belong to a command"),
        ('command="y"\nheaders={A="b"}', "belong to a url"),
        ('url="https://x.org"\nheaders={Host="b"}', "set by the transport"),
        ('url="https://x.org"\nheaders={"a b"="b"}', "not a header name"),
        ('url="https://x.org"\nheaders={A="b\\r\\nC: d"}', "line break"),
        ('url="http://x.org"\nheaders={A="env:T"}', "over http to another machine"),
        ('url="https://x.org?token=abc"', "looks like a secret"),
        ('command="y"\nenv={"A=B"="c"}', "not the name of an environment variable"),
        ('command="y"\nargs=["--api-key=abc"]', "process list"),
        ('command="y"\ntimeout="0s"', "greater than"),
    ],
)
def test_an_upstream_that_cannot_be_meant_is_refused(tmp_path: Path, keys: str, said: str) -> None:
    problems = problems_of(tmp_path, f'[[upstream]]\nname="a"\n{keys}\n')
    assert any(said in problem for problem in problems), problems


def test_an_upstream_keeps_what_it_was_given(tmp_path: Path) -> None:
    (upstream,) = load(
        write(
            tmp_path,
            """[[upstream]]
name = "tickets"
url = "https://tickets.example.org/mcp/"
headers = { Authorization = "Bearer env:T", X-Tenant = "acme" }
reach = "closed"
timeout = "2m"
""",
        )
    ).upstream
    assert upstream.url == "https://tickets.example.org/mcp"
    assert upstream.reach is Reach.CLOSED
    assert upstream.timeout == 120
    assert upstream.headers["Authorization"].read(environment={"T": "abc"}) == "Bearer abc"
    assert upstream.headers["X-Tenant"].read() == "acme"


@pytest.mark.parametrize(
    "text",
    [
        f'{REMOTE}headers={{Authorization="Bearer {SECRET}"}}\n',
        f'{REMOTE}headers={{X-Api-Key="{SECRET}"}}\n',
        f'{REMOTE}headers={{X-Any="{SECRET}"}}\n',
        f'[[upstream]]\nname="a"\ncommand="x"\nenv={{ANY="{SECRET}"}}\n',
        f'[[upstream]]\nname="a"\ncommand="x"\nargs=["{SECRET}"]\n',
        f'[[upstream]]\nname="a"\nurl="https://user:{SECRET}@x.org"\n',
        f'[[upstream]]\nname="{SECRET}"\ncommand="x"\n',
        f'[runs]\nttl="{SECRET}"\n',
        f'[gateway]\nlisten="{SECRET}"\n',
    ],
)
def test_no_error_repeats_what_was_written(tmp_path: Path, text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(write(tmp_path, text))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_show_where_secrets_are_and_never_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", SECRET)
    settings = load(
        write(
            tmp_path,
            '[[upstream]]\nname="a"\nurl="https://x.org"\nheaders={Authorization="Bearer env:T"}\n',
        )
    )
    assert settings.upstream[0].headers["Authorization"].read() == f"Bearer {SECRET}"
    assert SECRET not in repr(settings) + str(settings.model_dump())


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ""))
    with pytest.raises(ValueError, match="frozen"):
        settings.gateway = settings.gateway
    with pytest.raises(ValueError, match="frozen"):
        settings.runs.implicit = False


def test_a_variable_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFLIGHT_RUNS__TTL", "2h")
    monkeypatch.setenv("MIDFLIGHT_GATEWAY__LISTEN", "127.0.0.1:9")
    settings = load(write(tmp_path, "[runs]\nttl = 60\nmax_steps = 7\n"))
    assert settings.runs.ttl == 7200
    assert settings.runs.max_steps == 7
    assert settings.gateway.listen.port == 9


def test_a_wrong_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFLIGHT_RUNS__TTL", SECRET)
    monkeypatch.setenv("MIDFLIGHT_GATEWAY__LISSTEN", "x")
    text = "\n".join(problems_of(tmp_path, ""))
    assert "$MIDFLIGHT_RUNS__TTL" in text
    assert "$MIDFLIGHT_GATEWAY__LISSTEN" in text
    assert SECRET not in text


def test_a_broken_list_in_a_variable_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDFLIGHT_UPSTREAM", SECRET)
    with pytest.raises(Misconfigured) as caught:
        load(write(tmp_path, ""))
    assert SECRET not in str(caught.value)


def test_no_dotenv_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("MIDFLIGHT_RUNS__MAX_STEPS=9\n")
    monkeypatch.chdir(tmp_path)
    assert load(write(tmp_path, "")).runs.max_steps == 1000


@pytest.mark.parametrize("raw", [b"a = ", b"\xff\xfe", b"[a]\n[a]\n", b"x = 1\nx = 2\n"])
def test_bytes_that_are_no_toml_are_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "midflight.toml"
    file.write_bytes(raw)
    with pytest.raises(Misconfigured):
        load(file)


def test_a_file_that_is_not_there_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match="midflight init"):
        load()
    with pytest.raises(Misconfigured, match="midflight init"):
        load(tmp_path / "other.toml")


def test_the_nearest_file_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert settings_file.find() == file
    other = below / "other.toml"
    other.touch()
    monkeypatch.setenv("MIDFLIGHT_CONFIG", str(other))
    assert settings_file.find() == other
    assert settings_file.find(file) == file


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[state]\ndirectory="s"\n',
        '[control]\nsocket="c.sock"\n',
        '[control]\nsocket="/x/c.sock"\n',
    ],
)
def test_the_control_socket_is_found_without_validation_where_settings_put_it(
    tmp_path: Path, text: str
) -> None:
    file = write(tmp_path, text)
    assert settings_file.control_socket(file) == load(file).control_socket


def test_the_control_socket_is_found_in_a_file_with_problems(tmp_path: Path) -> None:
    file = write(tmp_path, '[state]\ndirectory="s"\n[nonsense]\na=1\n')
    assert settings_file.control_socket(file) == tmp_path / "s" / "control.sock"


def test_a_socket_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f'[control]\nsocket = "/{"x" * 110}"\n')
    assert "midflight.toml:2: control.socket" in problem


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["[a]", "[[b]]", "[b.c]", "# note", ""]),
            st.sampled_from(
                ["1", '"x"', '"""\nk = 1\n"""', "[\n1,\n2]", "{ k = 1 }", "'''\n[z]\n'''"]
            ),
        ),
        max_size=8,
    )
)
def test_each_line_of_a_key_is_where_the_key_stands(parts: list[tuple[str, str]]) -> None:
    lines: list[str] = []
    expected: dict[str, int] = {}
    header_seen: set[str] = set()
    for index, (header, value) in enumerate(parts):
        if header == "[b.c]" and "[[b]]" not in header_seen:
            header = ""  # noqa: PLW2901 -- a table of an array that is not there
        if header in {"[a]", "[b.c]"} and header in header_seen:
            header = ""  # noqa: PLW2901 -- a table may be opened once
        if header == "[[b]]":
            header_seen.discard("[b.c]")
        header_seen.add(header)
        if header:
            lines += header.split("\n")
        expected[f"key{index}"] = len(lines) + 1
        lines += f"key{index} = {value}".split("\n")
    found = settings_file.lines_of("\n".join(lines))
    assert {path[-1]: line for path, line in found.items() if str(path[-1]).startswith("key")} == (
        expected
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604800), (5, 5), ("10 m", 600)],
)
def test_durations_are_read_as_people_write_them(text: str | int, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "1w", "-1", "1.5h", "١0m", "1h30m", -1, True])
def test_what_is_no_duration_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match=r"duration"):
        seconds(text)


def test_a_moment_is_a_duration_from_now_or_a_time_with_an_offset() -> None:
    assert moment("30m", now=1000.0) == 2800.0
    assert moment("1970-01-01T01:00:00Z", now=1000.0) == 3600.0
    assert moment("1970-01-01T02:00:00+01:00", now=1000.0) == 3600.0


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "1970-02-01", "0", "soon", "2030-01-31"])
def test_a_moment_that_is_past_or_ambiguous_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset|future|neither"):
        moment(text, now=1e9 if text.startswith("1970") else 1000.0)


@given(st.text(string.printable, max_size=40))
def test_reading_an_address_never_fails_otherwise(text: str) -> None:
    try:
        found = address(text)
    except ValueError:
        return
    assert 0 <= found.port <= 65535
    assert address(str(found)) == found


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Bearer abcdefgh12345", "X-Any"),
        ("x", "Authorization"),
        ("x", "GITHUB_TOKEN"),
        ("x", "X-Api-Key"),
        ("x", "DB_PASSWORD"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "X-Any"),
        ("AKIAIOSFODNN7EXAMPLE", "X-Any"),
        ("-----BEGIN EC PRIVATE KEY-----", "X-Any"),
    ],
)
def test_a_literal_that_looks_like_a_secret_is_refused(text: str, named: str) -> None:
    with pytest.raises(ValueError, match="env:NAME or file:PATH"):
        reference(text, named=named, base=Path())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("acme", "X-Tenant"),
        ("2025-06-18", "X-Version"),
        ("keyboard", "X-Layout"),
        ("1", "TOKENIZER"),
    ],
)
def test_an_ordinary_literal_is_kept(text: str, named: str) -> None:
    assert reference(text, named=named, base=Path()).read() == text


@pytest.mark.parametrize(
    ("argument", "secret"),
    [("--token=abc", True), ("--password=abc", True), (SECRET, True), ("--repository=/x", False)],
)
def test_arguments_with_secrets_are_told_apart(argument: str, secret: bool) -> None:
    assert option_looks_secret(argument) is secret


def test_a_secret_file_is_read_relative_to_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("abc\n")
    assert reference("file:secret", named="A", base=tmp_path).read() == "abc"
    assert reference("Bearer file:secret", named="A", base=tmp_path).read() == "Bearer abc"


@pytest.mark.parametrize("content", ["", "\n", "a\nb", "a\0b", "x" * 20_000])
def test_a_secret_that_cannot_be_one_is_refused_without_being_shown(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "secret").write_text(content)
    with pytest.raises(Misconfigured) as caught:
        reference("file:secret", named="A", base=tmp_path).read()
    assert content.strip() == "" or content not in str(caught.value)


def test_a_secret_that_is_missing_is_named() -> None:
    with pytest.raises(Misconfigured, match="env:NOT_THERE"):
        reference("env:NOT_THERE", named="A", base=Path()).read(environment={})


def test_settings_made_directly_read_no_file() -> None:
    assert Settings().runs.max_steps == 1000


TOML_VALUES = st.one_of(
    st.integers(),
    st.booleans(),
    st.sampled_from(['""', '"x"', '"127.0.0.1:1"', "[]", "[1]", "{}", '{ a = "b" }', "1.5", "nan"]),
    st.sampled_from(["2030-01-01", '"env:X"', '["--token=x"]', '"https://u@h"', '"\\u202e"']),
)
KEYS = sorted(
    {
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {"name": None, "url": None})
    }
    | {"gateway.tls.key", "gateway.limits.body_bytes", "nonsense.x", "gateway.nonsense"}
)


@given(st.dictionaries(st.sampled_from(KEYS), TOML_VALUES, max_size=6), st.booleans())
def test_any_document_loads_or_is_refused_with_its_problems(
    keys: dict[str, object], upstream: bool
) -> None:
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else value}"
        for key, value in keys.items()
        if not key.startswith("upstream.")
    ]
    if upstream:
        lines.append("[[upstream]]")
        lines += [
            f"{key.removeprefix('upstream.')} = {str(value).lower()}"
            for key, value in keys.items()
            if key.startswith("upstream.")
        ]
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), "\n".join(lines))
        try:
            load(file)
        except Misconfigured as error:
            assert error.problems or "is not TOML" in error.message  # noqa: PT017 -- either may be


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "midflight.toml"
        file.write_bytes(raw)
        with contextlib.suppress(Misconfigured):
            load(file)
        with contextlib.suppress(Misconfigured):
            settings_file.control_socket(file)
