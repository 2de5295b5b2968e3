from pathlib import Path

import pytest
from starlette.requests import Request

from holdfast.shell.pages import Pages

LAYOUT = '{% extends "shell/layout.html" %}'
CONTENT = """{% block content %}{{ say('hello') }} {{ say('name') }}
{{ asset('own.css') }} {{ asset('common.js') }}{% endblock %}"""


def folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        path.joinpath(name.replace("_", ".")).write_text(text, encoding="utf-8")
    return path


def asked(query: str = "") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/hello",
            "query_string": query.encode(),
            "headers": [],
        }
    )


@pytest.fixture
def common(tmp_path: Path) -> Path:
    return folder(tmp_path / "common", words_yaml="hello: {en: Hello, ko: 안녕}", common_js="1")


def test_a_feature_shares_a_folder_with_others(tmp_path: Path, common: Path) -> None:
    own = folder(
        tmp_path / "own",
        words_yaml="name: {en: Ada, ko: 에이다}",
        page_html=LAYOUT + CONTENT,
        own_css="p {}",
    )
    text = bytes(Pages("own", common, own).page(asked("lang=ko"), "page.html").body).decode()
    assert "안녕 에이다" in text
    assert "/static/own/own.css?v=" in text
    assert "/static/own/common.js?v=" in text


def test_the_link_to_the_other_language_keeps_the_query(tmp_path: Path, common: Path) -> None:
    own = folder(tmp_path / "own", words_yaml="x: {en: x, ko: x}", page_html=LAYOUT)
    text = bytes(
        Pages("own", common, own).page(asked("ticket=a%26b&lang=en"), "page.html").body
    ).decode()
    assert 'href="/hello?ticket=a%26b&amp;lang=ko"' in text


def test_words_that_are_there_twice_are_refused(tmp_path: Path, common: Path) -> None:
    own = folder(tmp_path / "own", words_yaml="hello: {en: Hi, ko: 안녕}")
    with pytest.raises(ValueError, match="hello has other words already"):
        Pages("own", common, own)


def test_words_that_lack_a_language_are_refused(tmp_path: Path) -> None:
    own = folder(tmp_path / "own", words_yaml="hello: {en: Hi}")
    with pytest.raises(ValueError, match="hello is not in every language"):
        Pages("own", own)
