"""The traits file says what it was written from, and a hostile manifest cannot write in it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.domain.errors import Misconfigured
from midflight.domain.labels import Confidentiality
from midflight.domain.paths import argument_text, bare, result_text
from midflight.domain.proposal import Evidence, Sureness
from midflight.domain.reviews import Review, Reviews
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.wire.toml import lines_of
from midflight.wire.traits_file import parse, render

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = TEXT.filter(bool) | st.sampled_from(["git_log", "a.b", '"', "[x]", "#", "\n", "digest"])
KEYS = TEXT | st.none()
WORDS = st.frozensets(
    st.sampled_from(["pii", "payments", "customer:42", "0", "a.b-c_d"]), max_size=2
)
DOMAINS = st.frozensets(
    st.sampled_from(["example.org", "a.b-c.test", "xn--bcher-kva.example"]), min_size=1
)
DIGESTS = st.integers(0, 2**256 - 1).map("{:064x}".format)
CONDITIONS = st.just(("", frozenset())) | st.tuples(TEXT.filter(bool), DOMAINS)


@st.composite
def yields(draw: st.DrawFn) -> Yield:
    unless_field, domains = draw(CONDITIONS)
    return Yield(
        path=result_text(tuple(draw(st.lists(KEYS, max_size=4)))),
        kind=draw(st.sampled_from(FieldKind)),
        confidentiality=draw(st.sampled_from(Confidentiality)),
        compartments=draw(WORDS),
        unless_field=unless_field,
        domains=domains,
    )


@st.composite
def reviews(draw: st.DrawFn) -> Review:
    reviewed = draw(st.booleans())
    places = draw(st.lists(st.tuples(TEXT, st.lists(KEYS, max_size=2)), max_size=4))
    # `to` and `to[*]` are one argument.
    paths = {bare((name, *rest)): argument_text((name, *rest)) for name, rest in places}.values()
    return Review(
        name=draw(NAMES),
        digest=draw(DIGESTS),
        traits=Traits(
            effect=draw(st.sampled_from(Effect)),
            reach=draw(st.sampled_from(Reach)),
            reviewed=reviewed,
            proposed=not reviewed,
            first_party=draw(st.booleans()),
            persists=draw(st.booleans()),
            arguments=tuple(Argument(path=p, role=draw(st.sampled_from(Role))) for p in paths),
            yields=tuple(draw(st.lists(yields(), max_size=3))),
        ),
    )


FILES = st.builds(
    Reviews,
    upstream=st.sampled_from(["git", "a-1", "0" * 32]),
    tools=st.lists(reviews(), max_size=4, unique_by=lambda review: review.name).map(tuple),
)
EVIDENCE = st.builds(
    Evidence,
    about=st.text(),
    says=st.text(),
    why=st.text(max_size=400),
    sure=st.sampled_from(Sureness),
    confirm=st.booleans(),
)


@given(FILES)
def test_what_is_written_is_read_back(file: Reviews) -> None:
    text = render(file)
    assert parse(text, name="x.toml") == file
    assert render(parse(text, name="x.toml")) == text


@given(FILES, st.lists(EVIDENCE, max_size=4))
def test_no_evidence_changes_what_the_file_says(file: Reviews, evidence: list[Evidence]) -> None:
    notes = {review.name: evidence for review in file.tools}
    text = render(file, notes)
    assert text.isascii()
    assert parse(text, name="x.toml") == file


@given(FILES)
@settings(max_examples=30)
def test_every_key_of_a_file_has_its_line(file: Reviews) -> None:
    text = render(file)
    lines, found = text.split("\n"), lines_of(text)
    for review in file.tools:
        assert lines[found["tool", review.name] - 1].startswith("[tool.")
        assert lines[found["tool", review.name, "digest"] - 1].startswith("digest = ")


@given(st.text(max_size=200) | st.text('[]="\n#toldigesfrma', max_size=200))
def test_any_text_is_a_file_or_is_refused(text: str) -> None:
    for tried in (
        text,
        f'format = 1\nupstream = "git"\n{text}',
        f"{render(Reviews(upstream='a'))}{text}",
    ):
        try:
            parse(tried, name="x.toml")
        except Misconfigured:
            continue
