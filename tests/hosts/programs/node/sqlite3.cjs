// The work of tests/hosts/work.py, by the npm package sqlite3, which does everything in threads of its own.
const { promisify } = require('node:util');
const sqlite3 = require('sqlite3');

// It is opened while the next statements are already waiting, as programs do.
const db = new sqlite3.Database(process.argv[2], (error) => {
  if (error) throw error;
});
const run = promisify(db.run.bind(db));
const exec = promisify(db.exec.bind(db));
const all = promisify(db.all.bind(db));

async function transaction(act) {
  await exec('BEGIN');
  try {
    await act();
    await exec('COMMIT');
  } catch (error) {
    await exec('ROLLBACK');
    throw error;
  }
}

async function main() {
  await transaction(async () => {
    await exec(`CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
                CREATE TABLE series(n INTEGER)`);
    const insert = 'INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)';
    await run(insert, 'Grüße, 世界 🎈', 2.5, Buffer.from([0, 255, 128]), null);
    await run(insert, 'plain', 0.25, null, '');
    await run(insert, 'third', null, Buffer.alloc(0), "it's");
  });
  await transaction(async () => {
    for (let n = 1; n <= 500; n++) await run('INSERT INTO series VALUES (?)', n);
  });
  await transaction(async () => {
    await run('INSERT INTO item(name) VALUES (?)', 'lost');
    throw new Error('no');
  }).catch(() => console.log('rolled back'));
  await run('INSERT INTO item(name) VALUES (?)', 'plain').catch((error) =>
    console.log(`refused: ${error.message.replace('SQLITE_CONSTRAINT: ', '')}`),
  );
  await transaction(async () => {
    await run('UPDATE item SET price = price * 2 WHERE name = ?', 'plain');
    await run('DELETE FROM item WHERE name = ?', 'third');
  });
  for (const { id, name, price, picture, note } of await all('SELECT * FROM item ORDER BY id')) {
    console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
  }
  console.log((await all('SELECT sum(n) AS sum FROM series'))[0].sum);
}

main().finally(() => db.close());
