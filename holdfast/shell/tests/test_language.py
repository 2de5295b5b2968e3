import pytest

from holdfast.shell.language import preferred_language


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en-GB, ko;q=0.9", "en"),
        ("fr;q=1, ko;q=0.2", "ko"),
        ("ko;q=0", "en"),
        ("ko;q=nonsense", "en"),
        ("*", "en"),
    ],
)
def test_the_best_of_our_languages_wins(header: str, expected: str) -> None:
    assert preferred_language(header) == expected
