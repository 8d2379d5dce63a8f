"""The language of a text is told by its script or small words, and not where it could be several."""

from __future__ import annotations

import pytest

from lora_core.refiner.languages import is_wrong, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a red circle moves up on a striped background", "en"),
        ("ein roter Kreis steigt auf vor einem gestreiften Hintergrund", "de"),
        ("une balle rouge qui monte dans le ciel", "fr"),
        ("una bola roja que sube en el cielo", "es"),
        ("una palla rossa che si muove verso l'alto", "it"),
        ("uma bola vermelha que sobe no céu com um fundo", "pt"),
        ("een rode bal die omhoog gaat op een achtergrond", "nl"),
        ("红色的球向上移动", "zh"),
        ("赤いボールが上に動く", "ja"),
        ("красный шар", "ru"),
        ("빨간 공이 올라간다", "ko"),
        ("a sign says 你好 on the wall of a house", "en"),
        ("crimson ball rising", ""),
        ("a cat, 猫", ""),
        ("die in the sea", ""),
        ("123 !?", ""),
        ("", ""),
    ],
)
def test_a_language_is_told_where_it_is_sure(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_language_is_wrong_only_where_another_is_sure() -> None:
    assert is_wrong("红色的球向上移动", "en")
    assert is_wrong("a red ball on the floor", "zh")
    assert not is_wrong("crimson ball rising", "zh")
    assert not is_wrong("红色的球向上移动", "")
