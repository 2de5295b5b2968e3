"""fastapi-users with its database strategy, as its documentation builds it: the peer.

It runs in `.venv-lab`, which alone has its libraries; so the type checker cannot follow it.
"""

# mypy: ignore-errors

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

URL = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
AS_MANY_AS_HOLDFAST = 10
engine = create_async_engine(URL, pool_size=AS_MANY_AS_HOLDFAST, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    pass


class UserRead(schemas.BaseUser[uuid.UUID]):
    pass


class UserUpdate(schemas.BaseUserUpdate):
    pass


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    pass


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


async def users(opened: Annotated[AsyncSession, Depends(session)]) -> SQLAlchemyUserDatabase:
    return SQLAlchemyUserDatabase(opened, User)


async def tokens(
    opened: Annotated[AsyncSession, Depends(session)],
) -> SQLAlchemyAccessTokenDatabase:
    return SQLAlchemyAccessTokenDatabase(opened, AccessToken)


async def manager(database: Annotated[SQLAlchemyUserDatabase, Depends(users)]) -> Manager:
    return Manager(database)


def strategy(
    database: Annotated[SQLAlchemyAccessTokenDatabase, Depends(tokens)],
) -> DatabaseStrategy:
    return DatabaseStrategy(database, lifetime_seconds=86_400)


backend = AuthenticationBackend("database", BearerTransport("login"), strategy)
fastapi_users = FastAPIUsers[User, uuid.UUID](manager, [backend])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(fastapi_users.get_users_router(UserRead, UserUpdate), prefix="/users")
