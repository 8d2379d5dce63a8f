"""The languages that requests are made in, by name."""

from collections.abc import Mapping

from .chinese import CHINESE
from .english import ENGLISH
from .german import GERMAN
from .speech import Language

LANGUAGES: Mapping[str, Language] = {language.name: language for language in (ENGLISH, GERMAN, CHINESE)}
