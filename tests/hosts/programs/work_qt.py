# The work of tests/hosts/work.py, by Qt SQL. The argument is the name of the database.
import sys

from PyQt5.QtCore import QByteArray, QCoreApplication, QVariant
from PyQt5.QtSql import QSqlDatabase, QSqlQuery


def run(query, sql=None):
    if not (query.exec_() if sql is None else query.exec_(sql)):
        sys.exit(query.lastError().text())


def fill(db):
    query = QSqlQuery(db)
    run(query, "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT)")
    run(query, "CREATE TABLE series(n INTEGER)")
    query.prepare("INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)")
    for row in [
        ("Grüße, 世界 🎈", 2.5, QByteArray(b"\x00\xff\x80"), QVariant(QVariant.String)),
        ("plain", 0.25, QVariant(QVariant.ByteArray), ""),
        ("third", QVariant(QVariant.Double), QByteArray(b""), "it's"),
    ]:
        for value in row:
            query.addBindValue(value)
        run(query)


def show(db):
    query = QSqlQuery("SELECT id, name, price, picture, note FROM item ORDER BY id", db)
    while query.next():
        picture = "null" if query.isNull(3) else bytes(query.value(3)).hex()
        note = "null" if query.isNull(4) else query.value(4)
        print(query.value(0), query.value(1), query.value(2), picture, note, sep="|")
    query = QSqlQuery("SELECT sum(n) FROM series", db)
    query.next()
    print(query.value(0))


def main():
    application = QCoreApplication(sys.argv)
    db = QSqlDatabase.addDatabase("QSQLITE")
    db.setDatabaseName(sys.argv[1])
    if not db.open():
        sys.exit(db.lastError().text())
    db.transaction()
    fill(db)
    if not db.commit():
        sys.exit(db.lastError().text())
    db.transaction()
    query = QSqlQuery(db)
    query.prepare("INSERT INTO series VALUES (?)")
    query.addBindValue(list(range(1, 501)))
    query.execBatch()
    db.commit()
    db.transaction()
    run(QSqlQuery(db), "INSERT INTO item(name) VALUES ('lost')")
    db.rollback()
    print("rolled back")
    query = QSqlQuery(db)
    if not query.exec_("INSERT INTO item(name) VALUES ('plain')"):
        print("refused:", query.lastError().driverText() and query.lastError().databaseText())
    db.transaction()
    run(QSqlQuery(db), "UPDATE item SET price = price * 2 WHERE name = 'plain'")
    run(QSqlQuery(db), "DELETE FROM item WHERE name = 'third'")
    db.commit()
    show(db)
    del application


main()
