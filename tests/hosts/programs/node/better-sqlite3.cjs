// The work of tests/hosts/work.py, by better-sqlite3.
const Database = require('better-sqlite3');

const db = new Database(process.argv[2]);
db.transaction(() => {
  db.exec(`CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
           CREATE TABLE series(n INTEGER)`);
  const insert = db.prepare('INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)');
  insert.run('Grüße, 世界 🎈', 2.5, Buffer.from([0, 255, 128]), null);
  insert.run('plain', 0.25, null, '');
  insert.run('third', null, Buffer.alloc(0), "it's");
})();

const series = db.prepare('INSERT INTO series VALUES (?)');
db.transaction(() => {
  for (let n = 1; n <= 500; n++) series.run(n);
}).immediate();

try {
  db.transaction(() => {
    db.prepare('INSERT INTO item(name) VALUES (?)').run('lost');
    throw new Error('no');
  })();
} catch {
  console.log('rolled back');
}
try {
  db.prepare('INSERT INTO item(name) VALUES (?)').run('plain');
} catch (error) {
  console.log(`refused: ${error.message}`);
}
db.transaction(() => {
  db.prepare('UPDATE item SET price = price * 2 WHERE name = ?').run('plain');
  db.prepare('DELETE FROM item WHERE name = ?').run('third');
})();

for (const { id, name, price, picture, note } of db.prepare('SELECT * FROM item ORDER BY id').iterate()) {
  console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
}
console.log(db.prepare('SELECT sum(n) FROM series').pluck().get());
db.close();
