"""Reading a traits file: strict, and every problem at once with its line."""

from __future__ import annotations

import pytest

from midflight.domain.errors import Misconfigured
from midflight.domain.labels import Confidentiality
from midflight.domain.reviews import Review, Reviews
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.wire.traits_file import parse

DIGEST = "ab" * 32
GOOD = f"""format = 1
upstream = "mail"

[tool.send_mail]
digest = "{DIGEST}"
reviewed = true
effect = "send"
reach = "open"

[tool.send_mail.arguments]
to = "recipient"
"attachments[*].path" = "path"

[[tool.send_mail.yields]]
path = "$.messages[*].body"
kind = "text"
confidentiality = "secret"
compartments = ["pii"]
unless_field = "sender"
domains = ["example.org"]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        parse(text, name="mail.toml")
    return list(caught.value.problems)


def test_a_file_says_what_a_person_reviewed() -> None:
    traits = Traits(
        effect=Effect.SEND,
        reach=Reach.OPEN,
        reviewed=True,
        arguments=(
            Argument(path="to", role=Role.RECIPIENT),
            Argument(path="attachments[*].path", role=Role.PATH),
        ),
        yields=(
            Yield(
                path="$.messages[*].body",
                kind=FieldKind.TEXT,
                confidentiality=Confidentiality.SECRET,
                compartments=frozenset({"pii"}),
                unless_field="sender",
                domains=frozenset({"example.org"}),
            ),
        ),
    )
    review = Review(name="send_mail", digest=DIGEST, traits=traits)
    assert parse(GOOD, name="mail.toml") == Reviews(upstream="mail", tools=(review,))


def test_what_is_not_reviewed_is_a_proposal() -> None:
    [review] = parse(GOOD.replace("= true", "= false"), name="mail.toml").tools
    assert (review.traits.reviewed, review.traits.proposed) == (False, True)
    assert not review.holds(DIGEST)


def test_a_review_holds_for_its_digest_and_for_no_other() -> None:
    [review] = parse(GOOD, name="mail.toml").tools
    assert review.holds(DIGEST)
    assert not review.holds("cd" * 32)
    assert not review.holds(None)


def test_every_problem_is_told_with_its_line() -> None:
    text = (
        GOOD.replace("reviewed = true", "reviewd = true")
        .replace('"send"', '"sends"')
        .replace('to = "recipient"', 'to = "whom"\n"a b" = "url"')
        .replace('"$.messages[*].body"', '"messages"')
        .replace('unless_field = "sender"\n', "")
        .replace('["pii"]', '["P I I"]')
        .replace('"secret"', '"hidden"')
    )
    first = "tool.send_mail.yields[0]"
    assert problems(text) == [
        "mail.toml:4: tool.send_mail: has no reviewed",
        "mail.toml:7: tool.send_mail.effect: is none of " + ", ".join(Effect),
        "mail.toml:11: tool.send_mail.arguments.to: is none of " + ", ".join(Role),
        "mail.toml:12: tool.send_mail.arguments.\"a b\": 'a b' is not a path (at character 2).",
        "mail.toml:16: tool.send_mail.yields[0].path: 'messages' does not start with $.",
        f"mail.toml:18: {first}.confidentiality: is none of public, internal, secret",
        f"mail.toml:19: {first}.compartments: is not a list of short lower-case words",
        f"mail.toml:15: {first}: has one of unless_field and domains; a condition needs both",
        "mail.toml:6: tool.send_mail.reviewd: is not a key of this file; check the spelling",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1\n", "", "has no format"),
        ("format = 1", "format = 2", "is form 2; this version reads 1"),
        ("format = 1", "format = true", "is the number of the file's form"),
        ('upstream = "mail"', 'upstream = "Mail!"', "is not the name of an upstream"),
        ('upstream = "mail"', 'upstream = "mail"\nowner = 1', "is not a key of this file"),
        (DIGEST, "ab", "is not a digest of 64"),
        ("reviewed = true", 'reviewed = "true"', "is not true or false"),
        ("reviewed = true", "reviewed = 1", "is not true or false"),
        ('"attachments[*].path" = "path"', '"[\'to\']" = "path"', "names the same argument"),
        ('domains = ["example.org"]', 'domains = "example.org"', "is not a list of domains"),
        ('domains = ["example.org"]', 'domains = ["*"]', "is not a list of domains"),
        ("[tool.send_mail.arguments]", "[[tool.send_mail.arguments]]", "is not a table"),
        ("[[tool.send_mail.yields]]", "[tool.send_mail.yields]", "is not an array of tables"),
    ],
)
def test_what_is_not_exactly_such_a_file_is_refused(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert any(said in problem for problem in problems(GOOD.replace(old, new)))


@pytest.mark.parametrize("text", ["x", "a = 1\na = 2", "a = [" * 5_000, "\ufeffformat = 1"])
def test_what_is_no_toml_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"mail\.toml"):
        parse(text, name="mail.toml")


def test_a_tool_that_is_named_twice_is_refused() -> None:
    with pytest.raises(Misconfigured, match="not TOML"):
        parse(GOOD + GOOD.partition("\n\n")[2], name="mail.toml")


def test_a_line_that_no_statement_ends_is_looked_for_in_bounded_time() -> None:
    text = f"{GOOD}\n[tool.x]\nodd = [\n" + "1,\n" * 20_000 + "]\n"
    assert any("tool.x.odd" in problem for problem in problems(text))
