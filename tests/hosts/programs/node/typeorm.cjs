// The work of tests/hosts/work.py, by TypeORM on better-sqlite3, with its migrations.
const { DataSource, EntitySchema, Table, TableColumn } = require('typeorm');

const Item = new EntitySchema({
  name: 'item',
  columns: {
    id: { type: 'integer', primary: true, generated: true },
    name: { type: 'text', unique: true },
    price: { type: 'real', nullable: true },
    picture: { type: 'blob', nullable: true },
    note: { type: 'text', nullable: true },
  },
});
const Series = new EntitySchema({ name: 'series', columns: { n: { type: 'integer', primary: true } } });

class MakeTables1700000000000 {
  name = 'MakeTables1700000000000';
  async up(runner) {
    const columns = [
      { name: 'id', type: 'integer', isPrimary: true, isGenerated: true, generationStrategy: 'increment' },
      { name: 'name', type: 'text', isUnique: true },
      { name: 'price', type: 'real', isNullable: true },
      { name: 'picture', type: 'blob', isNullable: true },
    ];
    await runner.createTable(new Table({ name: 'item', columns }));
    await runner.createTable(
      new Table({ name: 'series', columns: [{ name: 'n', type: 'integer', isPrimary: true }] }),
    );
  }
}

// SQLite could add this column; TypeORM makes the table anew.
class AddNote1700000000001 {
  name = 'AddNote1700000000001';
  async up(runner) {
    await runner.addColumn('item', new TableColumn({ name: 'note', type: 'text', isNullable: true }));
  }
  async down(runner) {
    await runner.dropColumn('item', 'note');
  }
}

const source = new DataSource({
  type: 'better-sqlite3',
  database: process.argv[2],
  entities: [Item, Series],
  migrations: [MakeTables1700000000000, AddNote1700000000001],
});

async function main() {
  await source.initialize();
  await source.runMigrations();
  await source.undoLastMigration();
  await source.runMigrations();
  const items = source.getRepository('item');
  await items.save([
    { name: 'Grüße, 世界 🎈', price: 2.5, picture: Buffer.from([0, 255, 128]), note: null },
    { name: 'plain', price: 0.25, picture: null, note: '' },
    { name: 'third', price: null, picture: Buffer.alloc(0), note: "it's" },
  ]);
  await source.transaction(async (manager) => {
    for (let n = 1; n <= 500; n++) await manager.insert('series', { n });
  });
  await source
    .transaction(async (manager) => {
      await manager.insert('item', { name: 'lost' });
      throw new Error('no');
    })
    .catch(() => console.log('rolled back'));
  await items
    .insert({ name: 'plain' })
    .catch((error) => console.log(`refused: ${error.driverError.message}`));
  await source.transaction(async (manager) => {
    await manager.update('item', { name: 'plain' }, { price: () => 'price * 2' });
    await manager.delete('item', { name: 'third' });
  });
  for (const { id, name, price, picture, note } of await items.find({ order: { id: 'ASC' } })) {
    console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
  }
  console.log(await source.getRepository('series').sum('n'));
  await source.destroy();
}

main();
