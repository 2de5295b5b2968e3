from hypothesis import given
from hypothesis import strategies as st

from holdfast.shell.prose import prose


def test_paragraphs_code_and_bold() -> None:
    assert prose("**One** `two`\nthree\n\nfour") == (
        "<p><strong>One</strong> <code>two</code>\nthree</p>\n<p>four</p>"
    )


def test_fences_keep_their_content_as_it_is() -> None:
    assert prose("a\n\n```sh\n**x** `y`\n\n<z>\n```\n\nb") == (
        "<p>a</p>\n<pre><code>**x** `y`\n\n&lt;z&gt;</code></pre>\n<p>b</p>"
    )


@given(st.text())
def test_no_text_becomes_markup_of_its_own(text: str) -> None:
    html = str(prose(text))
    for ours in ("p", "pre", "code", "strong"):
        html = html.replace(f"<{ours}>", "").replace(f"</{ours}>", "")
    assert "<" not in html
    assert ">" not in html
