"""Products by HTTP: what editors do to them, and one of them for everybody."""

from uuid import UUID

from fastapi import APIRouter, Response

from holdfast.apps.catalog.guard import Editor
from holdfast.apps.catalog.products import actions, queries
from holdfast.apps.catalog.products.queries import Product
from holdfast.apps.catalog.products.schemas import (
    ProductChangeIn,
    ProductIn,
    ProductOut,
    ProductsIn,
    StockChangeIn,
)
from holdfast.apps.catalog.resources import Here
from holdfast.core.errors import NotFoundError
from holdfast.core.wire import Data

router = APIRouter(prefix="/api/v1/products")

# Only what is an id comes here: `deals` and other lists stand at the same place of the address.
ONE = "/{product_id:uuid}"


@router.post("", status_code=201)
async def create_product(here: Here, wanted: ProductIn, editor: Editor) -> Data[ProductOut]:
    [product] = await actions.create_products(here, [wanted])
    return _shown(product)


@router.post("/bulk", status_code=201)
async def create_products(here: Here, wanted: ProductsIn, editor: Editor) -> Data[list[UUID]]:
    made = await actions.create_products(here, wanted.products)
    return Data(data=[product.id for product in made])


@router.get(ONE)
async def show_product(here: Here, product_id: UUID) -> Data[ProductOut]:
    product = await queries.select_product(here.db, product_id)
    if product is None:
        raise NotFoundError("There is no product with this id.")
    return _shown(product)


@router.patch(ONE)
async def change_product(
    here: Here, product_id: UUID, wanted: ProductChangeIn, editor: Editor
) -> Data[ProductOut]:
    return _shown(await actions.change_product(here, product_id, wanted))


@router.delete(ONE, status_code=204)
async def remove_product(here: Here, product_id: UUID, editor: Editor) -> Response:
    await actions.remove_product(here, product_id)
    return Response(status_code=204)


@router.post(f"{ONE}/stock")
async def change_stock(
    here: Here, product_id: UUID, wanted: StockChangeIn, editor: Editor
) -> Data[ProductOut]:
    return _shown(await actions.change_stock(here, product_id, wanted.change))


def _shown(product: Product) -> Data[ProductOut]:
    return Data(data=ProductOut(**product._asdict()))
