"""The lists of words: long enough, and apart, so that a test asks for nothing that a training has shown."""

import itertools
import re

import pytest

from lora_core.pocket.requests.kinds import VALUES
from lora_core.pocket.requests.languages import LANGUAGES
from lora_core.pocket.requests.speech import LISTS, SLOTS, Language

#: German has few words for a triangle.
LEAST_KNOWN = {"en": 8, "de": 7, "zh": 8}
EACH = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


@EACH
def test_every_value_has_enough_words_in_every_list(language: Language) -> None:
    for slot in SLOTS:
        assert tuple(language.words[slot]) == VALUES[slot]
        for value in VALUES[slot]:
            known, new, unseen = (len(set(language.words_for(slot, value, words))) for words in LISTS)
            assert known >= LEAST_KNOWN[language.name], (slot, value)
            assert new >= 8, (slot, value)
            assert unseen >= 4, (slot, value)


@EACH
def test_no_word_is_in_two_lists_of_a_slot_or_means_two_things(language: Language) -> None:
    for slot in SLOTS:
        lists = {
            (value, words): {word.strip("=~!").lower() for word in language.words_for(slot, value, words)}
            for value in VALUES[slot]
            for words in LISTS
        }
        for (one, its), (other, others) in itertools.combinations(lists.items(), 2):
            assert not its & others, (slot, one, other)


@EACH
def test_no_known_word_stands_inside_a_new_or_unseen_one(language: Language) -> None:
    """A phrase that holds a known word would be known already; in Chinese, characters are shared, as in every text."""
    if language.name == "zh":
        pytest.skip("Chinese words have no spaces between them")
    for slot, value in itertools.chain.from_iterable(itertools.product([one], VALUES[one]) for one in SLOTS):
        known = {
            word.strip("=~!").lower() for other in VALUES[slot] for word in language.words_for(slot, other, "known")
        }
        for word in (*language.words_for(slot, value, "new"), *language.words_for(slot, value, "unseen")):
            assert not known & set(re.findall(r"\w+", word.lower())), (slot, value, word)


@EACH
def test_no_sentence_is_both_known_and_unseen(language: Language) -> None:
    assert len(set(language.forms[0])) >= 12
    assert len(set(language.forms[1])) >= 8
    assert not set(language.forms[0]) & set(language.forms[1])
    for known, unseen in (language.openers, language.closers, language.nothing):
        assert not set(known.split("|")) & set(unseen.split("|"))


@EACH
def test_what_is_unsupported_is_no_word_of_the_pocket_world(language: Language) -> None:
    for slot in SLOTS:
        words = {word for value in VALUES[slot] for name in LISTS for word in language.words_for(slot, value, name)}
        known, unseen = (set(language.unsupported_words(slot, name)) for name in ("known", "unseen"))
        assert not known & unseen
        assert not (known | unseen) & words, slot
