"""A demo shop, and two deals that open minutes after every start. Never in production."""

from datetime import UTC, datetime, timedelta

from holdfast.apps.catalog.deals.actions import create_deal
from holdfast.apps.catalog.deals.queries import select_product_without_deal
from holdfast.apps.catalog.deals.schemas import DealIn
from holdfast.apps.catalog.options import Options
from holdfast.apps.catalog.products.actions import create_products
from holdfast.apps.catalog.products.queries import select_names_taken
from holdfast.apps.catalog.products.schemas import ProductIn
from holdfast.apps.catalog.resources import Catalog
from holdfast.core.settings import Settings, SettingsError

OPENS_AFTER = timedelta(minutes=2)
ROOM_OPENS_AFTER = timedelta(minutes=3)
ADMIT_PER_S = 20
STAYS_OPEN = timedelta(minutes=10)
STOCK = 500
# By category; what each costs is in won.
DEMO_PRODUCTS = {
    "kitchen": {
        "파란 머그 Blue mug": 12_900,
        "무쇠 프라이팬 Cast-iron pan": 54_000,
        "뚝배기 Stone pot": 23_500,
        "참나무 도마 Oak board": 31_000,
        "놋수저 세트 Brass spoon set": 42_000,
        "드립 주전자 Drip kettle": 67_000,
    },
    "audio": {
        "무선 이어폰 Wireless earbuds": 129_000,
        "책상 스피커 Desk speaker": 89_000,
        "턴테이블 Turntable": 248_000,
        "녹음용 마이크 Studio microphone": 176_000,
        "헤드폰 거치대 Headphone stand": 19_800,
        "잡음 없는 헤드폰 Quiet headphones": 319_000,
    },
    "garden": {
        "모종삽 Hand trowel": 8_900,
        "고추 모종 Chilli seedlings": 4_500,
        "물뿌리개 Watering can": 17_400,
        "전지가위 Pruning shears": 26_000,
        "자작나무 화분 Birch planter": 38_000,
        "해먹 Hammock": 72_000,
    },
    "stationery": {
        "만년필 Fountain pen": 45_000,
        "한지 공책 Hanji notebook": 9_800,
        "황동 자 Brass ruler": 14_200,
        "먹물 Ink stick": 11_000,
        "연필 한 다스 A dozen pencils": 6_600,
        "가죽 필통 Leather pencil case": 33_000,
    },
}


class DemoRefusedError(SettingsError):
    """Customers would buy it."""


async def seed(settings: Settings) -> tuple[()]:
    if settings.profile == "production":
        raise DemoRefusedError("The production profile refuses demo products.")
    async with Catalog.open(settings, Options()) as here:
        await _put_up_products(here)
        await _announce_deal(here, OPENS_AFTER)
        await _announce_deal(here, ROOM_OPENS_AFTER, ADMIT_PER_S)  # with a waiting room
    return ()


async def _put_up_products(here: Catalog) -> None:
    """Those that are not there, so that a second start changes nothing."""
    taken = await select_names_taken(here.db, _names())
    missing = [
        ProductIn(name=name, category=category, price_krw=price_krw, stock=STOCK)
        for category, products in DEMO_PRODUCTS.items()
        for name, price_krw in products.items()
        if name not in taken
    ]
    if missing:
        await create_products(here, missing)


async def _announce_deal(
    here: Catalog, opens_after: timedelta, admit_per_s: int | None = None
) -> None:
    """Of a product that is in no other; if all are in one, there is enough to look at."""
    product = await select_product_without_deal(here.db, _names())
    if product is not None:
        opens_at = datetime.now(UTC) + opens_after
        deal = DealIn(
            product_id=product.id,
            price_krw=product.price_krw // 2,
            opens_at=opens_at,
            closes_at=opens_at + STAYS_OPEN,
            quota=100,
            per_customer=1,
            admit_per_s=admit_per_s,
        )
        await create_deal(here, deal)


def _names() -> list[str]:
    return [name for products in DEMO_PRODUCTS.values() for name in products]
