// Reads by better-sqlite3, on each of the databases that are named, in turns: for each round, so many rounds, a line of JSON
// with reads by the second of each kind for each database. tests/bench/better_sqlite3.py makes the databases.
const Database = require('better-sqlite3');

const [, , rounds, ...names] = process.argv;
const ROWS = 100_000; // As better_sqlite3.py has it.
const KINDS = {
  // Each makes one read, by a number that grows.
  'a row by its key': (db) => {
    const get = db.prepare('SELECT * FROM item WHERE id = ?');
    return (n) => get.get(1 + ((n * 7919) % ROWS));
  },
  'a row by an index': (db) => {
    const get = db.prepare('SELECT id FROM item WHERE name = ?');
    return (n) => get.get(`name ${1 + ((n * 7919) % ROWS)}`);
  },
  '100 rows': (db) => {
    const all = db.prepare('SELECT * FROM item WHERE id BETWEEN ? AND ? + 99');
    return (n) => all.all(1 + ((n * 7919) % ROWS), 1 + ((n * 7919) % ROWS));
  },
  'the same in a transaction of 10': (db) => {
    const get = db.prepare('SELECT * FROM item WHERE id = ?');
    return db.transaction((n) => {
      for (let i = 0; i < 10; i++) get.get(1 + (((n + i) * 7919) % ROWS));
    });
  },
};
const SLICE_MS = 150;

// The CPU time counts and not the clock: another process may have the core meanwhile.
function rate(read) {
  const began = process.cpuUsage();
  const until = performance.now() + SLICE_MS;
  let n = 0;
  while (performance.now() < until) for (let i = 0; i < 50; i++) read(n++);
  const { user, system } = process.cpuUsage(began);
  return (n * 1e6) / (user + system);
}

const databases = names.map((name) => new Database(name));
for (const [kind, make] of Object.entries(KINDS)) {
  const reads = databases.map(make);
  reads.forEach(rate); // Warm.
  for (let round = 0; round < Number(rounds); round++) {
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    const rates = [];
    for (const index of order) rates[index] = rate(reads[index]);
    console.log(JSON.stringify({ kind, rates }));
  }
}
