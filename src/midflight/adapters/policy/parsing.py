"""From files of Cedar text to one parsed set with ids, places and a version.

Cedar numbers policies and says nothing about lines, so each file is split into its statements
first, and each is parsed alone: that gives every problem its file and line, and one broken policy
does not hide the next. A policy is known by its `@id` from here on.
Below: `annotations.py`, `mentions.py`. Above: `compiler.py`, `slices.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from cedarpy import policies_to_json_str, policies_to_pst, pst

from midflight.adapters.policy.annotations import Notes, annotation_problems, read_notes
from midflight.adapters.policy.mentions import mentions
from midflight.adapters.policy.names import parse_tool_action_id
from midflight.adapters.policy.schema import CONTEXT, Mentions
from midflight.domain.canonical import sha256_hex
from midflight.domain.errors import Misconfigured
from midflight.domain.monitor import Monitor
from midflight.domain.response_rules import ResponseRules
from midflight.domain.value import JSON, Value
from midflight.services.monitor_files import is_declaring, parse_monitors
from midflight.services.ports.policy_sets import PolicyProblem, PolicySource
from midflight.services.response_files import is_responding, parse_responses

# Tagged, so that a set never has the digest of something else.
_VERSION_TAG = "midflight/policy/v1"

# Comments, strings (also unfinished ones), semicolons, and runs of anything else.
_TOKEN = re.compile(r"//[^\n]*|\"(?:\\.|[^\"\\])*\"?|;|[^\s\";/]+|/", re.DOTALL)


class Statement(Value):
    """One policy's text, with the line of its file where it begins."""

    file: str
    line: int
    text: str


class Policy(Value):
    """One parsed policy.

    Attributes:
        id: its `@id`, which is also `template.id`.
        statement: its text and place.
        template: its syntax tree.
        notes: what its annotations say.
        mentions: what its conditions look at.
        tells_apart: its conditions look at the name of the resource or action, so that two targets
            with equal facts can have different answers.
        canonical: Cedar's JSON form of it.
    """

    id: str
    statement: Statement
    template: pst.Template
    notes: Notes
    mentions: Mentions
    tells_apart: bool
    canonical: JSON

    @property
    def asks(self) -> bool:
        """Whether its condition looks at the approval."""
        return self.mentions.group("approval")


class CedarSet:
    """A parsed set of policies, in the order of its files. Equal meaning, equal version."""

    def __init__(
        self,
        sources: Sequence[PolicySource],
        policies: Sequence[Policy],
        monitors: Iterable[Monitor] = (),
        responses: ResponseRules | None = None,
    ) -> None:
        self.sources = tuple(sources)
        self.policies = {policy.id: policy for policy in policies}
        self.monitors = tuple(monitors)
        self.responses = responses
        meaning = [self.policies[i].canonical for i in sorted(self.policies)]
        if self.monitors:
            meaning.append(["monitors", *(monitor.canonical() for monitor in self.monitors)])
        if responses is not None:
            meaning.append(["responses", responses.canonical()])
        self.version = sha256_hex([_VERSION_TAG, *meaning])

    def __len__(self) -> int:
        return len(self.policies)

    def __repr__(self) -> str:
        return f"CedarSet({len(self)} policies, version {self.version[:16]})"


def parse_set(sources: Sequence[PolicySource]) -> CedarSet:
    """Parse a set.

    Raises:
        Misconfigured: with every problem of every file.
    """
    policies: list[Policy] = []
    first: dict[str, Statement] = {}
    declaring = [source for source in sources if is_declaring(source)]
    monitors, problems = parse_monitors(declaring, taken=CONTEXT["run"])
    responses, wrong = parse_responses(sources)
    problems.extend(wrong)
    for source in sources:
        if is_declaring(source) or is_responding(source):
            continue
        for statement in split_statements(source):
            found, wrong = _parse_statement(statement)
            problems.extend(wrong)
            if found is None:
                continue
            if found.id in first:
                place = f"{first[found.id].file}:{first[found.id].line}"
                problems.append(_problem(statement, f"has the @id of {place}", policy=found.id))
                continue
            first[found.id] = statement
            policies.append(found)
    if problems:
        raise Misconfigured(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in the policies.",
            [str(problem) for problem in problems],
            hint="The set was not activated.",
        )
    return CedarSet(sources, policies, monitors, responses)


def split_statements(source: PolicySource) -> Iterator[Statement]:
    """The statements of a file. What follows the last semicolon is one, too, and will not parse.

    A semicolon ends a policy wherever it stands outside a string or a comment; Cedar has no other
    use for it.
    """
    begin, line, counted = None, 1, 0
    for token in _TOKEN.finditer(source.text):
        if token[0].startswith("//"):
            continue
        if begin is None:
            begin = token.start()
            line += source.text.count("\n", counted, begin)
            counted = begin
        if token[0] == ";":
            text = source.text[begin : token.end()]
            yield Statement(file=source.name, line=line, text=text)
            begin = None
    if begin is not None:
        yield Statement(file=source.name, line=line, text=source.text[begin:])


def _parse_statement(statement: Statement) -> tuple[Policy | None, list[PolicyProblem]]:
    try:
        parsed = policies_to_pst(statement.text)
        canonical = policies_to_json_str(statement.text)
    except ValueError as error:
        return None, [_problem(statement, f"is no Cedar: {error}")]
    if parsed.templates or len(parsed.static_policies) != 1:
        return None, [_problem(statement, "is a template: write the policy out, without ?slots")]
    template = next(iter(parsed.static_policies.values()))
    seen = mentions(template)
    asks = seen.group("approval")
    wrong = [
        _problem(statement, text, policy=template.annotations.get("id", ""))
        for text in annotation_problems(template.annotations, effect=template.effect, asks=asks)
    ]
    if wrong:
        return None, wrong
    identifier = template.annotations["id"]
    return (
        Policy(
            id=identifier,
            statement=statement,
            template=dataclasses.replace(template, id=identifier),
            notes=read_notes(template.annotations, effect=template.effect, asks=asks),
            mentions=seen,
            tells_apart="name" in seen.names or _names_target(template),
            canonical=next(iter(msgspec.json.decode(canonical)["staticPolicies"].values())),
        ),
        [],
    )


def _names_target(template: pst.Template) -> bool:
    """Whether a condition names a tool or item. Groups and kinds are shared by all of a list."""
    return any(
        str(uid.type) in ("Tool", "Item") or parse_tool_action_id(uid.id) is not None
        for uid in pst.entity_uids(template.clauses)
    )


def _problem(statement: Statement, text: str, *, policy: str = "") -> PolicyProblem:
    return PolicyProblem(file=statement.file, line=statement.line, policy=policy, text=text)


__all__ = ["CedarSet", "Policy", "Statement", "parse_set", "split_statements"]
