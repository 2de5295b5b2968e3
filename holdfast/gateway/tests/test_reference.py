from typing import Any

import pytest
import yaml

from holdfast.core import manifest
from holdfast.gateway.reference.rules import Contract
from holdfast.gateway.tests.conftest import Door


@pytest.fixture(params=manifest.apps(), ids=lambda app: str(app.name))
def app(request: pytest.FixtureRequest) -> manifest.App:
    found: manifest.App = request.param
    return found


async def test_show_reference_has_every_operation_of_the_contract(
    door: Door, app: manifest.App
) -> None:
    page = await door.text(f"/docs/{app.name}")
    told = yaml.safe_load(app.contract.read_text(encoding="utf-8"))
    for item in told["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                assert f'id="{operation["operationId"]}"' in page


async def test_show_reference_of_an_unknown_app_is_a_404(door: Door) -> None:
    async with door.client.get("/docs/nothing") as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"


async def test_show_contract_is_the_file_itself(door: Door, app: manifest.App) -> None:
    served = await door.text(f"/contracts/{app.contract.name}")
    assert served == app.contract.read_text(encoding="utf-8")


async def test_send_asset_may_be_kept_for_good_only_with_its_version(door: Door) -> None:
    async with door.client.get("/static/home/home.js") as answer:
        assert answer.content_type == "text/javascript"
        assert answer.headers["Cache-Control"] == "no-cache"
        tag = answer.headers["ETag"]
    async with door.client.get("/static/home/home.js", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    async with door.client.get(f"/static/home/home.js?v={tag.strip(chr(34))}") as answer:
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("file", ["words.yaml", "home.html", "..%2Froutes.py", "nothing"])
async def test_send_asset_gives_away_nothing_else(door: Door, file: str) -> None:
    async with door.client.get(f"/static/home/{file}") as answer:
        assert answer.status == 404


SMALL: dict[str, Any] = {
    "tags": [{"name": "Things"}],
    "security": [{"bearer": []}],
    "paths": {
        "/things/{id}": {
            "parameters": [{"name": "id", "in": "path", "schema": {}, "example": "7"}],
            "put": {
                "operationId": "change_thing",
                "tags": ["Things"],
                "summary": "Change a thing",
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}
                    }
                },
                "responses": {"204": {"description": "Changed."}, "404": {"description": "Gone."}},
            },
        }
    },
    "components": {
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "schemas": {
            "Thing": {
                "required": ["parts"],
                "properties": {
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}}
                },
            },
            "Part": {
                "type": "object",
                "properties": {"word": {"type": "string", "maxLength": 9, "examples": ["it's"]}},
            },
        },
    },
}


def test_nested_fields_are_named_by_their_whole_path() -> None:
    (operation,) = Contract(SMALL).groups[0].operations
    assert [(f.name, f.kind, f.required) for f in operation.body] == [
        ("parts", "list of object", True),
        ("parts[].word", "string", False),
    ]
    assert operation.body[1].rules == ["at most 9 characters"]


def test_the_curl_line_can_be_pasted_as_it_is() -> None:
    (operation,) = Contract(SMALL).groups[0].operations
    assert operation.curl == (
        "curl -s -X PUT $URL/things/7 \\\n"
        '  -H "Authorization: Bearer $TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        """  -d '{"parts": [{"word": "it'"'"'s"}]}'"""
    )


def test_answers_are_parted_into_successes_and_refusals() -> None:
    (operation,) = Contract(SMALL).groups[0].operations
    assert [answer.status for answer in operation.successes] == [204]
    assert [answer.status for answer in operation.refusals] == [404]


def test_the_curl_line_of_a_form_that_a_client_sends() -> None:
    form = {
        "operationId": "ask",
        "tags": ["Things"],
        "summary": "Ask",
        "security": [{"client": []}],
        "requestBody": {
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "required": ["word"],
                        "properties": {"word": {"type": "string", "examples": ["two words"]}},
                    }
                }
            }
        },
        "responses": {"200": {"description": "Told."}},
    }
    schemes = {"client": {"type": "http", "scheme": "basic"}}
    told = {**SMALL, "paths": {"/ask": {"post": form}}, "components": {"securitySchemes": schemes}}
    (operation,) = Contract(told).groups[0].operations
    assert operation.curl == (
        'curl -s -X POST $URL/ask \\\n  -u "$CLIENT_ID:$CLIENT_SECRET" \\\n'
        "  --data-urlencode 'word=two words'"
    )
