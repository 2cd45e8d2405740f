"""Small words of English by what they do in a sentence: where a verb asks and where it does not.

Above: `intent.py`. Below: `words.py`, which has the verbs and nouns themselves.
"""

from __future__ import annotations

from midflight.domain.flow.words import lexicon

DETERMINERS = lexicon(
    """
        a an the my his her their its our your this that these those some any no each
        every of in on for with from by about whose which what recent last next new old
        latest first second own unread open same other another pending scheduled most
        least more less within into inside onto under over between through during via as
        at than upcoming current entire
    """
)
NARRATORS = lexicon("i we they he she who it people")
# What stands before a verb that asks.
OPENERS = lexicon(
    """
        , and or then to please also you just now first next finally kindly let's lets
        let us can could would will should must i'd me so but go it them help simply
        either otherwise again afterwards here that's
    """
)
EACH = lexicon("each every")
NONE = lexicon("nothing none no")
PRONOUNS = lexicon("it them her him these those")
AFTER = lexicon("to from in into for on onto with as at by , and")
BEFORE = lexicon("and , then please also now")
OBJECTS = lexicon("the a an this that them it")
LEADS = lexicon(
    """
        by start consider considering mind of for like to and as with in about after
        before while upon from on proceed , please
    """
)
# Verbs that do nothing themselves: what is asked for is their object.
LIGHT = lexicon(
    """
        make do proceed initiate arrange require need want request process perform
        handle manage orchestrate execute complete finalize like get have give carry
        issue begin start go file warranted necessary assist oversee see please
        undertake
    """
)
SELF = lexicon("tell give send show let provide write inform notify update email")
INSIDE = lexicon("in from under within inside")
JOINS = lexicon(", and or that which to after then with by for at called named")
PLANS = lexicon("looking planning hoping thinking heading")
REMINDERS = lexicon("remind reminder reminders reminding")
SUPERLATIVE = lexicon(
    """
        most least largest smallest biggest highest lowest latest newest oldest best
        worst cheapest longest shortest top first last
    """
)
BEING = lexicon("be is are being been get gets gotten was were have has")
NEGATIONS = lexicon("not don't dont never without no cannot can't won't nothing avoid")
ALL = lexicon(
    """
        all each every everyone everybody both any several various multiple entire whole
        many everything two three four five six seven eight nine ten
    """
)
ARITHMETIC = lexicon(
    """
        total sum difference average mean half double twice third split increase
        decrease adjust rest remaining percent percentage more less plus minus share
        discount add subtract multiply convert extra refund accordingly usual same hour
        hours
    """
)
MONTHS = lexicon("""
    january february march april may june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday morning
    afternoon evening night week month year day hour minute
""")
COMMON = (
    DETERMINERS | NARRATORS | OPENERS | LEADS | BEING | NEGATIONS | ALL | SUPERLATIVE
    | MONTHS
    | lexicon("""
        me you him she her they them who when where why how there than because since until if while
        one yes okay soon very much more less few good bad number name date time way am pm
        had did does done may might shall want need wish love hope think sure thanks hello dear
    """)
)  # fmt: skip
DEFER = lexicon("instructions instruction steps tasks actions todo")

__all__ = [
    "AFTER",
    "ALL",
    "ARITHMETIC",
    "BEFORE",
    "BEING",
    "COMMON",
    "DEFER",
    "DETERMINERS",
    "EACH",
    "INSIDE",
    "JOINS",
    "LEADS",
    "LIGHT",
    "MONTHS",
    "NARRATORS",
    "NEGATIONS",
    "NONE",
    "OBJECTS",
    "OPENERS",
    "PLANS",
    "PRONOUNS",
    "REMINDERS",
    "SELF",
    "SUPERLATIVE",
]
