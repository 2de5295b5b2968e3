"""What an app says of itself in its `app.toml`."""

from pathlib import Path

from holdfast.core.manifest import Companion, _read

TOLD = """
title = "Shop"
summary = "Sells."
port = 8001

[[companions]]
name = "bank"
title = "Bank"
command = ["shop", "bank"]
address = "HOLDFAST_SHOP_BANK_URL"
"""


def test_an_app_names_its_companions(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.toml").write_text(TOLD, encoding="utf-8")
    app = _read(folder / "app.toml")
    assert app.companions == [
        Companion("bank", "Bank", ["shop", "bank"], address="HOLDFAST_SHOP_BANK_URL")
    ]
    assert app.pages == []
