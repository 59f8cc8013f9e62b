// For drizzle.mjs and drizzle-kit.
import { blob, integer, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';

export const item = sqliteTable('item', {
  id: integer().primaryKey(),
  name: text().notNull().unique(),
  price: real(),
  picture: blob({ mode: 'buffer' }),
  note: text(),
});
export const series = sqliteTable('series', { n: integer() });
