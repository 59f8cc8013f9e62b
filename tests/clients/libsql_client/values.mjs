// Statements, one a line as JSON, by one of the official clients; an answer a line, every value with its type and bits.
//
//   node values.mjs http URL [TOKEN]           @libsql/client
//   node values.mjs embedded FILE URL [TOKEN]  libsql, a replica of its own kind; null in place of SQL syncs it

import { createInterface } from "node:readline";
import { createClient } from "@libsql/client";
import Database from "libsql";

const real = new DataView(new ArrayBuffer(8));

function decoded([type, value]) {
  switch (type) {
    case "null": return null;
    case "integer": return BigInt(value);
    case "real": real.setBigUint64(0, BigInt(`0x${value}`)); return real.getFloat64(0);
    case "blob": return Buffer.from(value, "hex");
    default: return value;
  }
}

function encoded(value) {
  if (value === null) return ["null", ""];
  if (typeof value === "bigint") return ["integer", String(value)];
  if (typeof value === "number") {
    real.setFloat64(0, value);
    return ["real", real.getBigUint64(0).toString(16).padStart(16, "0")];
  }
  return typeof value === "string" ? ["text", value] : ["blob", Buffer.from(value).toString("hex")];
}

function overHttp(url, authToken) {
  const client = createClient({ url, authToken, intMode: "bigint" });
  return async (sql, args) => (await client.execute({ sql, args })).rows.map((row) => Array.from(row));
}

function embedded(file, syncUrl, authToken) {
  const db = new Database(file, { syncUrl, authToken });
  db.defaultSafeIntegers(true);
  return async (sql, args) => {
    if (sql === null) {
      await db.sync();
      return [];
    }
    const statement = db.prepare(sql);
    if (!statement.reader) {
      statement.run(args);
      return [];
    }
    return statement.raw(true).all(args);
  };
}

const [kind, ...where] = process.argv.slice(2);
const run = kind === "http" ? overHttp(...where) : embedded(...where);
for await (const line of createInterface({ input: process.stdin })) {
  const [sql, args] = JSON.parse(line);
  let answer;
  try {
    answer = { rows: (await run(sql, args.map(decoded))).map((row) => row.map(encoded)) };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
