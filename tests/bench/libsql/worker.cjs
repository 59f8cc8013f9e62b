// One client of a libSQL server: for each line of its input, NAME COUNT, does that and prints the milliseconds of each.
// tests/bench/libsql/compare.py starts it: worker.cjs replica|libsql FILE URL
const [, , client, file, url] = process.argv;
const readline = require('readline');

let db;
let sync;
if (client === 'libsql') {
  const Database = require('libsql');
  db = new Database(file, { syncUrl: url });
  sync = () => db.sync();
} else {
  const Database = require('better-sqlite3');
  db = new Database(file);
  const turso = db.prepare('SELECT turso_sync()');
  sync = () => turso.get();
}

let number = 0;
const insert = () => db.prepare('INSERT INTO item(name, price) VALUES (?, ?)');
function transaction(rows) {
  db.exec('BEGIN IMMEDIATE');
  const statement = insert();
  for (let i = 0; i < rows; i++) statement.run(`name ${++number}`, number / 3);
  db.exec('COMMIT');
}
const kinds = {
  sync,
  insert: () => insert().run(`name ${++number}`, number / 3),
  ten: () => transaction(10),
  thousand: () => transaction(1000),
  read: (n) => {
    // Prepared anew: of a statement that was used, libsql 0.5.29 answers nothing each second time.
    const row = db.prepare('SELECT * FROM page WHERE id = ?').get(1 + ((n * 7919) % 1000));
    if (row === undefined) throw new Error('the row is not there');
  },
};

(async () => {
  await sync();
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, count] = line.split(' ');
    const took = [];
    for (let n = 0; n < Number(count); n++) {
      const began = performance.now();
      const done = kinds[name](n);
      if (done instanceof Promise) await done;
      took.push(performance.now() - began);
    }
    console.log(JSON.stringify(took));
  }
})();
