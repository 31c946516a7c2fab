"""What a site file may name as events is what services say."""

from gateway.services.words import WORDS
from gateway.site.choice import SEVERITIES
from gateway.site.codes import CODES
from gateway.spool.records import Severity


def test_codes_and_severities_are_those_of_the_words() -> None:
    assert {code: int(word.severity) for code, word in WORDS.items()} == CODES
    assert tuple(one.name.lower() for one in Severity) == SEVERITIES
