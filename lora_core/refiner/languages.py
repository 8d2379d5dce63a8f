"""The language of a text: told by its script, of Latin ones by their small words; "" where it could be several."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

#: What the name of a letter in Unicode begins with -> the language, or the sign of one, that is written so.
_SCRIPTS = {
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "THAI": "th",
    "DEVANAGARI": "hi",
    "LATIN": "latin",
}
#: Language -> words that most of its sentences have some of.
_SMALL_WORDS = {
    "en": "a an the is are of and in on at to with from by its it his her their as into over under that through while",
    "de": "der die das den dem des ein eine einen einem einer und ist sind auf im in mit von zu vor über unter aus",
    "fr": "le la les un une des du de et est sont dans sur avec qui par pour au aux en sous vers son sa ses se",
    "es": "el la los las un una unos de del y es son en con que por para al sobre bajo hacia su sus se",
    "it": "il lo la i gli le un uno una di del della e è sono in con che per al su sotto verso si nel nella",
    "pt": "o a os as um uma de do da dos das e é são em no na com que por para ao sob sobre seu sua se",
    "nl": "de het een en is zijn van in op met naar door over onder voor uit aan die dat zich haar",
}
#: Every language that can be told.
LANGUAGES = (*_SMALL_WORDS, *(sign for sign in dict.fromkeys(_SCRIPTS.values()) if sign != "latin"))
_WORDS = {language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()}
#: Of the letters, so many have to be of one script.
_SHARE = 0.6
#: So many small words, and by so many more than of any other language, tell one.
_LEAST, _LEAD = 2, 1.5


def language_of(text: str) -> str:
    """Return the language of a text, such as "en" or "zh", or "" where too little tells it."""
    scripts = Counter(script for letter in text if letter.isalpha() and (script := _script(letter)))
    if not scripts:
        return ""
    if scripts["ja"] and scripts["ja"] >= 0.1 * (scripts["ja"] + scripts["zh"]):  # Japanese has letters of Chinese
        scripts["ja"] += scripts.pop("zh", 0)
    # A letter of Chinese says as much as several of Latin.
    scripts["latin"] = scripts["latin"] // 3
    script, count = scripts.most_common(1)[0]
    if count < max(1, _SHARE * scripts.total()):
        return ""
    return _by_small_words(text) if script == "latin" else script


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").split(" ")[0].split("-")[0]
    return _SCRIPTS.get(name, "")


def _by_small_words(text: str) -> str:
    words = re.findall(r"[^\W\d_]+", text.lower())
    counts = Counter({language: sum(word in known for word in words) for language, known in _WORDS.items()})
    (language, most), (_, second) = counts.most_common(2)
    return language if most >= _LEAST and most >= _LEAD * second else ""


def is_wrong(text: str, wanted: str) -> bool:
    """Say whether a text is surely in another language than the one that is wanted."""
    found = language_of(text)
    return bool(wanted and found and found != wanted)
