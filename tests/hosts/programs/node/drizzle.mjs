// The work of tests/hosts/work.py, by Drizzle on better-sqlite3. drizzle-kit has made the tables if TEST_TABLES is "there";
// else the migrations of the folder "drizzle" do.
import Database from 'better-sqlite3';
import { eq, sql, sum } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import { migrate } from 'drizzle-orm/better-sqlite3/migrator';

import { item, series } from './schema.mjs';

const db = drizzle(new Database(process.argv[2]));
if (process.env.TEST_TABLES !== 'there') migrate(db, { migrationsFolder: 'drizzle' });

db.transaction((tx) =>
  tx
    .insert(item)
    .values([
      { name: 'Grüße, 世界 🎈', price: 2.5, picture: Buffer.from([0, 255, 128]) },
      { name: 'plain', price: 0.25, note: '' },
      { name: 'third', picture: Buffer.alloc(0), note: "it's" },
    ])
    .run(),
);
db.transaction((tx) => {
  for (let n = 1; n <= 500; n++) tx.insert(series).values({ n }).run();
});
try {
  db.transaction((tx) => {
    tx.insert(item).values({ name: 'lost' }).run();
    tx.rollback();
  });
} catch {
  console.log('rolled back');
}
try {
  db.insert(item).values({ name: 'plain' }).run();
} catch (error) {
  console.log(`refused: ${(error.cause ?? error).message}`);
}
db.transaction((tx) => {
  tx.update(item).set({ price: sql`${item.price} * 2` }).where(eq(item.name, 'plain')).run();
  tx.delete(item).where(eq(item.name, 'third')).run();
});
for (const { id, name, price, picture, note } of db.select().from(item).orderBy(item.id).all()) {
  console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
}
console.log(db.select({ sum: sum(series.n) }).from(series).get().sum);
