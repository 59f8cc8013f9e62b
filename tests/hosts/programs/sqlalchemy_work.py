"""SQLAlchemy's ORM and Core: relations, unit of work, savepoints, a refused row, RETURNING, an upsert.

Its argument is the URL of an engine.
"""

import sys

from sqlalchemy import ForeignKey, LargeBinary, String, create_engine, event, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")
    title: Mapped[str]
    price: Mapped[float | None]
    cover: Mapped[bytes | None] = mapped_column(LargeBinary)


engine = create_engine(sys.argv[1])


@event.listens_for(engine, "connect")
def enforce_foreign_keys(connection, _record):
    connection.execute("PRAGMA foreign_keys=ON")


Base.metadata.create_all(engine)
with Session(engine) as session, session.begin():
    ada = Author(name="Ada, 世界 🎈", books=[Book(title="Notes", price=2.5, cover=b"\x00\xff"), Book(title="Letters")])
    session.add_all([ada, Author(name="Grace")])
with Session(engine) as session:
    session.add(Author(name="lost"))
    session.flush()
    session.rollback()
    print("rolled back")
    try:
        session.add(Author(name="Grace"))
        session.commit()
    except IntegrityError as error:
        session.rollback()
        print("refused:", error.orig)
    with session.begin():
        session.execute(insert(Book), [{"author_id": 2, "title": f"Manual {number}"} for number in range(200)])
        with session.begin_nested() as savepoint:
            session.execute(update(Book).values(title="lost"))
            savepoint.rollback()
        ada = session.scalars(select(Author).where(Author.name.like("Ada%"))).one()
        ada.books[0].price *= 2
        ada.books.pop()
with engine.begin() as connection:
    added = connection.execute(insert(Author).returning(Author.id, Author.name), [{"name": "Hedy"}, {"name": "Mary"}])
    print(added.all())
    upsert = sqlite_insert(Author).values(id=2, name="Grace Hopper")
    connection.execute(upsert.on_conflict_do_update(index_elements=["id"], set_={"name": upsert.excluded.name}))
with Session(engine) as session:
    print(session.execute(select(func.count(), func.sum(Book.price)).select_from(Book)).one())
