// The work of tests/hosts/work.py, by the module of Node itself.
import { DatabaseSync } from 'node:sqlite';

const db = new DatabaseSync(process.argv[2]);
function transaction(act) {
  db.exec('BEGIN');
  try {
    act();
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

transaction(() => {
  db.exec(`CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
           CREATE TABLE series(n INTEGER)`);
  const insert = db.prepare('INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)');
  insert.run('Grüße, 世界 🎈', 2.5, new Uint8Array([0, 255, 128]), null);
  insert.run('plain', 0.25, null, '');
  insert.run('third', null, new Uint8Array(0), "it's");
});
const series = db.prepare('INSERT INTO series VALUES (?)');
transaction(() => {
  for (let n = 1; n <= 500; n++) series.run(n);
});

try {
  transaction(() => {
    db.exec("INSERT INTO item(name) VALUES ('lost')");
    throw new Error('no');
  });
} catch {
  console.log('rolled back');
}
try {
  db.prepare('INSERT INTO item(name) VALUES (?)').run('plain');
} catch (error) {
  console.log(`refused: ${error.message}`);
}
transaction(() => {
  db.prepare('UPDATE item SET price = price * 2 WHERE name = ?').run('plain');
  db.prepare('DELETE FROM item WHERE name = ?').run('third');
});

for (const { id, name, price, picture, note } of db.prepare('SELECT * FROM item ORDER BY id').all()) {
  const bytes = picture && Buffer.from(picture).toString('hex');
  console.log([id, name, price, bytes ?? 'null', note ?? 'null'].join('|'));
}
console.log(db.prepare('SELECT sum(n) AS sum FROM series').get().sum);
db.close();
