// The work of tests/hosts/work.py, by Sequelize, which stands on the npm package sqlite3.
const { DataTypes, literal, Sequelize } = require('sequelize');

const sequelize = new Sequelize({ dialect: 'sqlite', storage: process.argv[2], logging: false });
const options = { freezeTableName: true, timestamps: false };
const Item = sequelize.define(
  'item',
  {
    id: { type: DataTypes.INTEGER, primaryKey: true },
    name: { type: DataTypes.TEXT, allowNull: false, unique: true },
    price: DataTypes.REAL,
    picture: DataTypes.BLOB,
  },
  options,
);
const Series = sequelize.define('series', { n: { type: DataTypes.INTEGER, primaryKey: true } }, options);

async function main() {
  await sequelize.sync();
  // What a migration of sequelize-cli does; SQLite cannot alter a column, and Sequelize makes the table anew.
  const migrating = sequelize.getQueryInterface();
  await migrating.addColumn('item', 'note', { type: DataTypes.STRING });
  await migrating.changeColumn('item', 'note', { type: DataTypes.TEXT });
  Item.rawAttributes.note = { type: DataTypes.TEXT };
  Item.refreshAttributes();

  await sequelize.transaction((transaction) =>
    Item.bulkCreate(
      [
        { name: 'Grüße, 世界 🎈', price: 2.5, picture: Buffer.from([0, 255, 128]), note: null },
        { name: 'plain', price: 0.25, picture: null, note: '' },
        { name: 'third', price: null, picture: Buffer.alloc(0), note: "it's" },
      ],
      { transaction },
    ),
  );
  await Series.bulkCreate(Array.from({ length: 500 }, (_, index) => ({ n: index + 1 })));
  await sequelize
    .transaction(async (transaction) => {
      await Item.create({ name: 'lost' }, { transaction });
      throw new Error('no');
    })
    .catch(() => console.log('rolled back'));
  await Item.create({ name: 'plain' }).catch((error) =>
    console.log(`refused: ${error.parent.message.replace('SQLITE_CONSTRAINT: ', '')}`),
  );
  await sequelize.transaction(async (transaction) => {
    await Item.update({ price: literal('price * 2') }, { where: { name: 'plain' }, transaction });
    await Item.destroy({ where: { name: 'third' }, transaction });
  });
  for (const { id, name, price, picture, note } of await Item.findAll({ order: ['id'] })) {
    console.log([id, name, price, picture?.toString('hex') ?? 'null', note ?? 'null'].join('|'));
  }
  console.log(await Series.sum('n'));
  await sequelize.close();
}

main();
