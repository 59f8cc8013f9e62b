// The work of tests/hosts/work.py, by rusqlite. The argument is the name of the database.
use rusqlite::{params, Connection, LoadExtensionGuard, Result};

// The one line.
fn load_turso(library: &str) -> Result<()> {
    let loader = Connection::open_in_memory()?;
    unsafe {
        let _guard = LoadExtensionGuard::new(&loader)?;
        loader.load_extension(library, Some("sqlite3_tursovfs_default_init"))
    }
}

fn fill(db: &mut Connection) -> Result<()> {
    let transaction = db.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
         CREATE TABLE series(n INTEGER)",
    )?;
    {
        let mut insert = transaction
            .prepare("INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)")?;
        insert.execute(params!["Grüße, 世界 🎈", 2.5, [0x00u8, 0xff, 0x80], None::<String>])?;
        insert.execute(params!["plain", 0.25, None::<Vec<u8>>, ""])?;
        insert.execute(params!["third", None::<f64>, Vec::<u8>::new(), "it's"])?;
    }
    transaction.commit()
}

fn series(db: &mut Connection) -> Result<()> {
    let transaction = db.transaction()?;
    for n in 1..=500 {
        transaction.execute("INSERT INTO series VALUES (?)", [n])?;
    }
    transaction.commit()
}

fn change(db: &mut Connection) -> Result<()> {
    let transaction = db.transaction()?;
    transaction.execute("INSERT INTO item(name) VALUES ('lost')", [])?;
    transaction.rollback()?;
    println!("rolled back");
    match db.execute("INSERT INTO item(name) VALUES (?)", ["plain"]) {
        Err(rusqlite::Error::SqliteFailure(_, Some(text))) => println!("refused: {text}"),
        other => println!("not refused: {other:?}"),
    }
    let transaction = db.transaction()?;
    transaction.execute("UPDATE item SET price = price * 2 WHERE name = ?", ["plain"])?;
    transaction.execute("DELETE FROM item WHERE name = ?", ["third"])?;
    transaction.commit()
}

fn show(db: &Connection) -> Result<()> {
    let mut select = db.prepare("SELECT id, name, price, picture, note FROM item ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let picture: Option<Vec<u8>> = row.get(3)?;
        let note: Option<String> = row.get(4)?;
        println!(
            "{}|{}|{}|{}|{}",
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, f64>(2)?,
            picture.map_or("null".to_string(), |bytes| bytes.iter().map(|b| format!("{b:02x}")).collect()),
            note.unwrap_or_else(|| "null".to_string()),
        );
    }
    println!("{}", db.query_row("SELECT sum(n) FROM series", [], |row| row.get::<_, i64>(0))?);
    Ok(())
}

fn main() -> Result<()> {
    let name = std::env::args().nth(1).expect("the name of a database");
    if name == "version" {
        println!("{}", rusqlite::version());
        return Ok(());
    }
    if let Ok(library) = std::env::var("TEST_LIBRARY") {
        load_turso(&library)?;
    }
    let mut db = Connection::open(name)?;
    fill(&mut db)?;
    series(&mut db)?;
    change(&mut db)?;
    show(&db)
}
