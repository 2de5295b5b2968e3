"""Who may import whom, and that a breach of it would be noticed."""

from pathlib import Path

import pytest

from checks.imports import broken_walls


def test_every_wall_stands(repository: Path) -> None:
    broken = broken_walls(repository)
    assert not broken, f"{broken}\nMove the code to where it belongs: see docs/architecture.md."


def test_every_folder_with_code_is_a_package(repository: Path) -> None:
    """Only packages are seen by the contracts above."""
    folders = {path.parent for path in (repository / "holdfast").rglob("*.py")}
    unseen = [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
    assert not unseen, f"Give each an empty __init__.py: {', '.join(sorted(unseen))}"


SOUND = {
    "cli/main.py": "import holdfast.gateway.main",
    "gateway/main.py": "import holdfast.apps.shop.main",
    "apps/shop/main.py": "import holdfast.apps.shop.cart.routes",
    "apps/shop/cart/routes.py": "from holdfast.apps.shop.cart import actions, queries",
    "apps/shop/cart/actions.py": "from holdfast.apps.shop.cart import queries, rules",
    "apps/shop/cart/queries.py": "import holdfast.core.db",
    "apps/shop/cart/rules.py": "import math",
    "apps/shop/till/routes.py": "import holdfast.apps.shop.cart.actions",
    "apps/bank/main.py": "import holdfast.core.db",
    "core/db.py": "import asyncpg",
    "core/rpc.py": "import holdfast.stubs.shop_pb2",
    "stubs/shop_pb2.py": "import google.protobuf",
}


def test_a_sound_tree_passes(tmp_path: Path) -> None:
    _plant(tmp_path, SOUND)
    assert not broken_walls(tmp_path)


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("core/db.py", "import holdfast.cli.main", "A floor imports only those below it"),
        ("stubs/shop_pb2.py", "import holdfast.core.db", "A floor imports only those below it"),
        ("apps/bank/main.py", "import holdfast.apps.shop.main", "Apps know nothing of each other"),
        ("apps/shop/cart/utils.py", "", "has only the files of the pattern"),
        ("apps/shop/cart/queries.py", "import holdfast.apps.shop.cart.actions", "they look down"),
        ("apps/shop/cart/rules.py", "import holdfast.core.db", "decide without I/O"),
        ("apps/shop/cart/rules.py", "import fastapi", "decide without I/O"),
        ("apps/shop/cart/actions.py", "import holdfast.apps.shop.till.routes", "form no cycle"),
    ],
)
def test_a_breach_is_reported(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    _plant(tmp_path, SOUND | {file: code})
    assert complaint in broken_walls(tmp_path)


def _plant(root: Path, files: dict[str, str]) -> None:
    for name, code in files.items():
        path = root / "holdfast" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{code}\n", encoding="utf-8")
        for folder in path.relative_to(root).parents[:-1]:
            (root / folder / "__init__.py").touch()
