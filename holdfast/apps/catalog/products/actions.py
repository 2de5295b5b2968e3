"""Products are put up for sale, changed and removed; who looks next sees it, at every worker."""

from collections.abc import Sequence
from uuid import UUID

from holdfast.apps.catalog.products import queries
from holdfast.apps.catalog.products.queries import Product
from holdfast.apps.catalog.products.schemas import (
    DealUnderWayError,
    ProductChangeIn,
    ProductIn,
    StockOutOfRangeError,
)
from holdfast.apps.catalog.resources import Catalog
from holdfast.apps.catalog.wire import MOST_UNITS
from holdfast.core import epochs
from holdfast.core.db import Executor
from holdfast.core.errors import NotFoundError
from holdfast.core.outbox import emit


async def create_products(here: Catalog, wanted: Sequence[ProductIn]) -> list[Product]:
    """All of them or none, in their order."""
    async with epochs.change(here.lease) as change:
        made = await queries.insert_products(
            change.db,
            names=[one.name for one in wanted],
            descriptions=[one.description for one in wanted],
            categories=[one.category for one in wanted],
            prices_krw=[one.price_krw for one in wanted],
            stocks=[one.stock for one in wanted],
        )
        change.touches("products")
        await emit(change.db, "product.created", *({"product_id": one.id} for one in made))
    return made


async def change_product(here: Catalog, product_id: UUID, wanted: ProductChangeIn) -> Product:
    async with epochs.change(here.lease) as change:
        product = await _lock(change.db, product_id)
        product = await _write(change.db, product._replace(**wanted.sent()))
        change.touches("products", "deals")
    return product


async def change_stock(here: Catalog, product_id: UUID, units: int) -> Product:
    async with epochs.change(here.lease) as change:
        product = await _lock(change.db, product_id)
        stock = product.stock + units
        if not 0 <= stock <= MOST_UNITS:
            raise StockOutOfRangeError(
                f"{product.stock} were put up for sale so far; the change must leave 0 to {MOST_UNITS}."
            )
        product = await _write(change.db, product._replace(stock=stock))
        change.touches("products")
    return product


async def remove_product(here: Catalog, product_id: UUID) -> None:
    async with epochs.change(here.lease) as change:
        await _lock(change.db, product_id)
        if not await queries.delete_product(change.db, product_id):
            raise DealUnderWayError
        change.touches("products")
        await emit(change.db, "product.removed", {"product_id": product_id})


async def _lock(db: Executor, product_id: UUID) -> Product:
    product = await queries.lock_product(db, product_id)
    if product is None:
        raise NotFoundError("There is no product with this id.")
    return product


async def _write(db: Executor, product: Product) -> Product:
    written = await queries.update_product(
        db,
        id=product.id,
        name=product.name,
        description=product.description,
        category=product.category,
        price_krw=product.price_krw,
        stock=product.stock,
    )
    await emit(db, "product.changed", {"product_id": product.id})
    return written
