// The work of tests/hosts/work.py, by Prisma Client; its tables are there already.
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';

import { PrismaClient } from './generated/client.ts';

const prisma = new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: process.argv[2] }) });

await prisma.$transaction([
  prisma.item.create({ data: { name: 'Grüße, 世界 🎈', price: 2.5, picture: Buffer.from([0, 255, 128]) } }),
  prisma.item.createMany({
    data: [
      { name: 'plain', price: 0.25, note: '' },
      { name: 'third', picture: Buffer.alloc(0), note: "it's" },
    ],
  }),
]);
await prisma.$transaction(async (tx) => {
  for (let n = 1; n <= 500; n++) await tx.series.create({ data: { n } });
});
await prisma
  .$transaction(async (tx) => {
    await tx.item.create({ data: { name: 'lost' } });
    throw new Error('no');
  })
  .catch(() => console.log('rolled back'));
await prisma.item
  .create({ data: { name: 'plain' } })
  .catch((error) => console.log(`refused: ${error.code === 'P2002' ? 'UNIQUE constraint failed: item.name' : error}`));
await prisma.$transaction(async (tx) => {
  await tx.item.update({ where: { name: 'plain' }, data: { price: { multiply: 2 } } });
  await tx.item.delete({ where: { name: 'third' } });
});
for (const { id, name, price, picture, note } of await prisma.item.findMany({ orderBy: { id: 'asc' } })) {
  const bytes = picture && Buffer.from(picture).toString('hex');
  console.log([id, name, price, bytes ?? 'null', note ?? 'null'].join('|'));
}
console.log((await prisma.series.aggregate({ _sum: { n: true } }))._sum.n);
await prisma.$disconnect();
