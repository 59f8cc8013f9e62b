// The work of tests/hosts/work.py, by Kysely on better-sqlite3, with its migrations.
import Database from 'better-sqlite3';
import { Kysely, sql, SqliteDialect } from 'kysely';
import { Migrator } from 'kysely/migration';

const db = new Kysely({ dialect: new SqliteDialect({ database: new Database(process.argv[2]) }) });

const migrations = {
  '1-item': {
    up: (schema) =>
      schema.schema
        .createTable('item')
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('name', 'text', (column) => column.notNull().unique())
        .addColumn('price', 'real')
        .addColumn('picture', 'blob')
        .execute(),
  },
  '2-note-and-series': {
    up: async (schema) => {
      await schema.schema.alterTable('item').addColumn('note', 'text').execute();
      await schema.schema.createTable('series').addColumn('n', 'integer').execute();
    },
    down: async (schema) => {
      await schema.schema.dropTable('series').execute();
      await schema.schema.alterTable('item').dropColumn('note').execute();
    },
  },
};

async function migrate() {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  for (const step of ['migrateToLatest', 'migrateDown', 'migrateToLatest']) {
    const { error } = await migrator[step]();
    if (error) throw error;
  }
}

async function main() {
  await migrate();
  await db.transaction().execute((trx) =>
    trx
      .insertInto('item')
      .values([
        { name: 'Grüße, 世界 🎈', price: 2.5, picture: Buffer.from([0, 255, 128]), note: null },
        { name: 'plain', price: 0.25, picture: null, note: '' },
        { name: 'third', price: null, picture: Buffer.alloc(0), note: "it's" },
      ])
      .execute(),
  );
  await db.transaction().execute(async (trx) => {
    for (let n = 1; n <= 500; n++) await trx.insertInto('series').values({ n }).execute();
  });
  await db
    .transaction()
    .execute(async (trx) => {
      await trx.insertInto('item').values({ name: 'lost' }).execute();
      throw new Error('no');
    })
    .catch(() => console.log('rolled back'));
  await db
    .insertInto('item')
    .values({ name: 'plain' })
    .execute()
    .catch((error) => console.log(`refused: ${error.message}`));
  await db.transaction().execute(async (trx) => {
    await trx.updateTable('item').set({ price: sql`price * 2` }).where('name', '=', 'plain').execute();
    await trx.deleteFrom('item').where('name', '=', 'third').execute();
  });
  for (const { id, name, price, picture, note } of await db.selectFrom('item').selectAll().orderBy('id').execute()) {
    console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
  }
  const sum = await db.selectFrom('series').select(db.fn.sum('n').as('sum')).executeTakeFirst();
  console.log(sum.sum);
}

main().finally(() => db.destroy());
