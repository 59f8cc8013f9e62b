// The work of tests/hosts/work.py, by Knex with its migrations; TEST_CLIENT is the driver.
const knex = require('knex')({
  client: process.env.TEST_CLIENT,
  connection: { filename: process.argv[2] },
  useNullAsDefault: true,
});

const migrations = {
  items: {
    up: (schema) =>
      schema.createTable('item', (table) => {
        table.increments('id');
        table.string('name').notNullable().unique();
        table.float('price');
        table.binary('picture');
        table.string('remark');
      }),
    down: (schema) => schema.dropTable('item'),
  },
  series: {
    up: (schema) => schema.createTable('series', (table) => table.integer('n')),
    down: (schema) => schema.dropTable('series'),
  },
  // SQLite cannot alter a column: Knex makes the table anew.
  note: {
    up: (schema) =>
      schema.alterTable('item', (table) => {
        table.renameColumn('remark', 'note');
        table.text('name').notNullable().alter();
      }),
    down: (schema) =>
      schema.alterTable('item', (table) => {
        table.renameColumn('note', 'remark');
        table.string('name').notNullable().alter();
      }),
  },
};
const migrationSource = {
  getMigrations: async () => Object.keys(migrations),
  getMigrationName: (name) => name,
  getMigration: async (name) => ({
    up: (trx) => migrations[name].up(trx.schema),
    down: (trx) => migrations[name].down(trx.schema),
  }),
};

async function main() {
  await knex.migrate.latest({ migrationSource });
  await knex.migrate.down({ migrationSource });
  await knex.migrate.latest({ migrationSource });
  await knex.transaction((trx) =>
    trx('item').insert([
      { name: 'Grüße, 世界 🎈', price: 2.5, picture: Buffer.from([0, 255, 128]), note: null },
      { name: 'plain', price: 0.25, picture: null, note: '' },
      { name: 'third', price: null, picture: Buffer.alloc(0), note: "it's" },
    ]),
  );
  const numbers = Array.from({ length: 500 }, (_, index) => ({ n: index + 1 }));
  await knex.batchInsert('series', numbers, 100);
  await knex
    .transaction(async (trx) => {
      await trx('item').insert({ name: 'lost' });
      throw new Error('no');
    })
    .catch(() => console.log('rolled back'));
  await knex('item')
    .insert({ name: 'plain' })
    .catch((error) => console.log(`refused: ${/UNIQUE constraint failed: item.name/.exec(error.message)}`));
  await knex.transaction(async (trx) => {
    await trx('item').where({ name: 'plain' }).update({ price: knex.raw('price * 2') });
    await trx('item').where({ name: 'third' }).delete();
  });
  for (const { id, name, price, picture, note } of await knex('item').orderBy('id')) {
    console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
  }
  console.log((await knex('series').sum({ sum: 'n' }))[0].sum);
}

main().finally(() => knex.destroy());
