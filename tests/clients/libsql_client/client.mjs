// The official client, unchanged, against a turso-primary whose databases PRIMARY_URL serves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "@libsql/client";

const base = process.env.PRIMARY_URL;
const database = process.env.PRIMARY_DATABASE ?? "app";
// The slash at the end matters: the client resolves its paths against the URL, as a browser does.
const url = `${base}/${database}/`;
const authToken = process.env.PRIMARY_TOKEN;
const readToken = process.env.PRIMARY_READ_TOKEN;

let client;
let serial = 0;
const table = () => `t${++serial}`;
const rows = (result) => result.rows.map((row) => Array.from(row));

before(() => {
  client = createClient({ url, authToken });
});
after(() => client.close());

async function pipeline(version, requests, options = {}) {
  const response = await fetch(`${url}${version}/pipeline`, {
    method: "POST",
    headers: { authorization: `Bearer ${options.token ?? authToken}` },
    body: JSON.stringify({ baton: options.baton ?? null, requests }),
  });
  return { status: response.status, body: response.ok ? await response.json() : await response.text() };
}

test("execute returns columns, types, rows and counts", async () => {
  const t = table();
  await client.execute(`CREATE TABLE ${t}(id INTEGER PRIMARY KEY, name TEXT, score REAL)`);
  const inserted = await client.execute({ sql: `INSERT INTO ${t}(name, score) VALUES(?, ?)`, args: ["ann", 1.5] });
  assert.equal(inserted.rowsAffected, 1);
  assert.equal(inserted.lastInsertRowid, 1n);
  const found = await client.execute(`SELECT * FROM ${t}`);
  assert.deepEqual(found.columns, ["id", "name", "score"]);
  assert.deepEqual(found.columnTypes, ["INTEGER", "TEXT", "REAL"]);
  assert.deepEqual(rows(found), [[1, "ann", 1.5]]);
  assert.equal(found.rows[0].name, "ann");
  const updated = await client.execute(`UPDATE ${t} SET score = score + 1`);
  assert.equal(updated.rowsAffected, 1);
  const returned = await client.execute(`INSERT INTO ${t}(name) VALUES('bob') RETURNING id, score`);
  assert.deepEqual(rows(returned), [[2, null]]);
});

test("every kind of value comes back as it was sent", async () => {
  const blob = new Uint8Array(256).map((_, i) => i);
  const sent = [null, 0, -1.25, 1e300, "", "naïve 😀 \"'\\\n\0", new Uint8Array(0), blob, true, new Date(86400000)];
  const result = await client.execute({ sql: `SELECT ${sent.map(() => "?").join(",")}`, args: sent });
  const [row] = rows(result);
  assert.deepEqual(row.slice(0, 6), sent.slice(0, 6));
  assert.equal(row[6].byteLength, 0);
  assert.deepEqual(new Uint8Array(row[7]), blob);
  assert.deepEqual(row.slice(8), [1, 86400000]);
  const types = await client.execute({ sql: "SELECT typeof(?), typeof(?), typeof(?)", args: [1, 1n, "1"] });
  assert.deepEqual(rows(types), [["real", "integer", "text"]]);
});

test("integers beyond 2^53 are exact with intMode bigint, and refused as numbers", async () => {
  const t = table();
  const big = [9007199254740993n, -9223372036854775808n, 9223372036854775807n];
  await client.execute(`CREATE TABLE ${t}(n INTEGER)`);
  for (const n of big) await client.execute({ sql: `INSERT INTO ${t} VALUES(?)`, args: [n] });
  const exact = createClient({ url, authToken, intMode: "bigint" });
  assert.deepEqual(rows(await exact.execute(`SELECT n FROM ${t} ORDER BY rowid`)).flat(), big);
  exact.close();
  const text = createClient({ url, authToken, intMode: "string" });
  assert.deepEqual(rows(await text.execute(`SELECT n FROM ${t} ORDER BY rowid`)).flat(), big.map(String));
  text.close();
  await assert.rejects(client.execute(`SELECT n FROM ${t}`), RangeError);
});

test("named arguments find their parameters, whatever the prefix", async () => {
  for (const prefix of [":", "@", "$"]) {
    const sql = `SELECT ${prefix}a || ${prefix}b`;
    assert.deepEqual(rows(await client.execute({ sql, args: { a: "x", b: "y" } })), [["xy"]]);
    assert.deepEqual(rows(await client.execute({ sql, args: { [`${prefix}a`]: "x", [`${prefix}b`]: "y" } })), [["xy"]]);
  }
  await assert.rejects(client.execute({ sql: "SELECT :a", args: { b: 1 } }), { code: "ARGS_INVALID" });
  await assert.rejects(client.execute({ sql: "SELECT ?, ?", args: [1] }), { code: "ARGS_INVALID" });
});

test("a batch is one transaction", async () => {
  const t = table();
  const results = await client.batch(
    [
      `CREATE TABLE ${t}(a UNIQUE)`,
      { sql: `INSERT INTO ${t} VALUES(?)`, args: [1] },
      { sql: `INSERT INTO ${t} VALUES(:a)`, args: { a: 2 } },
      [`INSERT INTO ${t} VALUES(?)`, [3]],
      `SELECT sum(a) FROM ${t}`,
    ],
    "write",
  );
  assert.equal(results.length, 5);
  assert.deepEqual(rows(results[4]), [[6]]);
  await assert.rejects(
    client.batch([`INSERT INTO ${t} VALUES(4)`, `INSERT INTO ${t} VALUES(1)`, `INSERT INTO ${t} VALUES(5)`], "write"),
    (error) => {
      assert.equal(error.code, "SQLITE_CONSTRAINT");
      assert.equal(error.statementIndex, 1);
      assert.match(error.message, /UNIQUE constraint failed/);
      return true;
    },
  );
  assert.deepEqual(rows(await client.execute(`SELECT count(*) FROM ${t}`)), [[3]]);
  assert.deepEqual(rows((await client.batch([`SELECT count(*) FROM ${t}`], "read"))[0]), [[3]]);
  assert.deepEqual(rows((await client.batch([`SELECT count(*) FROM ${t}`], "deferred"))[0]), [[3]]);
  await assert.rejects(client.batch([`INSERT INTO ${t} VALUES(6)`], "read"), { code: "SQLITE_READONLY" });
});

test("an interactive transaction commits, and others see it only then", async () => {
  const t = table();
  await client.execute(`CREATE TABLE ${t}(a)`);
  const transaction = await client.transaction("write");
  await transaction.execute({ sql: `INSERT INTO ${t} VALUES(?)`, args: [1] });
  await transaction.batch([`INSERT INTO ${t} VALUES(2)`, `INSERT INTO ${t} VALUES(3)`]);
  assert.deepEqual(rows(await transaction.execute(`SELECT count(*) FROM ${t}`)), [[3]]);
  assert.deepEqual(rows(await client.execute(`SELECT count(*) FROM ${t}`)), [[0]]);
  await transaction.commit();
  assert.equal(transaction.closed, true);
  assert.deepEqual(rows(await client.execute(`SELECT count(*) FROM ${t}`)), [[3]]);
});

test("an interactive transaction rolls back, by word, by an error and by being closed", async () => {
  const t = table();
  await client.execute(`CREATE TABLE ${t}(a UNIQUE)`);
  const first = await client.transaction("write");
  await first.execute(`INSERT INTO ${t} VALUES(1)`);
  await first.rollback();
  const second = await client.transaction("write");
  await second.execute(`INSERT INTO ${t} VALUES(1)`);
  await assert.rejects(second.execute(`INSERT INTO ${t} VALUES(1)`), { code: "SQLITE_CONSTRAINT" });
  second.close();
  const third = await client.transaction("deferred");
  await third.executeMultiple(`INSERT INTO ${t} VALUES(1); INSERT INTO ${t} VALUES(2);`);
  third.close();
  // It waits for the lock until the stream of the closed transaction is gone.
  await client.execute(`INSERT INTO ${t} VALUES(9)`);
  assert.deepEqual(rows(await client.execute(`SELECT a FROM ${t}`)), [[9]]);
});

test("a read transaction keeps its snapshot and writes nothing", async () => {
  const t = table();
  await client.execute(`CREATE TABLE ${t}(a)`);
  const reading = await client.transaction("read");
  assert.deepEqual(rows(await reading.execute(`SELECT count(*) FROM ${t}`)), [[0]]);
  await client.execute(`INSERT INTO ${t} VALUES(1)`);
  assert.deepEqual(rows(await reading.execute(`SELECT count(*) FROM ${t}`)), [[0]]);
  await assert.rejects(reading.execute(`INSERT INTO ${t} VALUES(2)`), { code: "SQLITE_READONLY" });
  reading.close();
  assert.deepEqual(rows(await client.execute(`SELECT count(*) FROM ${t}`)), [[1]]);
});

test("executeMultiple runs a script, up to its first error", async () => {
  const t = table();
  await client.executeMultiple(`
    CREATE TABLE ${t}(a); -- a comment; with a semicolon
    INSERT INTO ${t} VALUES('x;y');
    CREATE TRIGGER ${t}_again AFTER INSERT ON ${t} WHEN new.a <> 'z' BEGIN INSERT INTO ${t} VALUES('z'); END;
    INSERT INTO ${t} VALUES('w');
  `);
  await assert.rejects(client.executeMultiple(`INSERT INTO ${t} VALUES('v'); nonsense; DELETE FROM ${t}`), {
    code: "SQL_PARSE_ERROR",
  });
  assert.deepEqual(rows(await client.execute(`SELECT a FROM ${t}`)).flat(), ["x;y", "w", "z", "v", "z"]);
});

test("errors carry the codes that the client's users compare", async () => {
  const t = table();
  await client.execute(`CREATE TABLE ${t}(a NOT NULL UNIQUE, b REFERENCES ${t}(a))`);
  await client.execute(`INSERT INTO ${t} VALUES(1, NULL)`);
  const cases = [
    [`INSERT INTO ${t} VALUES(1, NULL)`, "SQLITE_CONSTRAINT", /UNIQUE constraint failed/],
    [`INSERT INTO ${t} VALUES(NULL, NULL)`, "SQLITE_CONSTRAINT", /NOT NULL constraint failed/],
    [`INSERT INTO ${t} VALUES(2, 77)`, "SQLITE_CONSTRAINT", /FOREIGN KEY constraint failed/],
    ["SELEKT 1", "SQL_PARSE_ERROR", /syntax error/],
    ["SELECT * FROM absent", "SQL_INPUT_ERROR", /no such table: absent/],
    ["SELECT 1; SELECT 2", "SQL_MANY_STATEMENTS", /more than one statement/],
    ["", "SQL_NO_STATEMENT", /not contain any statement/],
    ["ATTACH 'x.db' AS x", "SQLITE_AUTH", /cannot be attached/],
  ];
  for (const [sql, code, message] of cases) {
    await assert.rejects(client.execute(sql), (error) => {
      assert.equal(error.name, "LibsqlError");
      assert.equal(error.code, code, sql);
      assert.match(error.message, message);
      return true;
    });
  }
});

test("migrate rebuilds a table that others refer to", async () => {
  const parent = table();
  const child = table();
  await client.batch([
    `CREATE TABLE ${parent}(id INTEGER PRIMARY KEY, name)`,
    `CREATE TABLE ${child}(parent REFERENCES ${parent}(id) ON DELETE CASCADE)`,
    `INSERT INTO ${parent} VALUES(1, 'one')`,
    `INSERT INTO ${child} VALUES(1)`,
  ], "write");
  await client.migrate([
    `CREATE TABLE ${parent}_new(id INTEGER PRIMARY KEY, name, added DEFAULT 5)`,
    `INSERT INTO ${parent}_new(id, name) SELECT id, name FROM ${parent}`,
    `DROP TABLE ${parent}`,
    `ALTER TABLE ${parent}_new RENAME TO ${parent}`,
  ]);
  // With foreign keys on, the DROP would have emptied the child.
  assert.deepEqual(rows(await client.execute(`SELECT parent FROM ${child}`)), [[1]]);
  assert.deepEqual(rows(await client.execute(`SELECT * FROM ${parent}`)), [[1, "one", 5]]);
  await assert.rejects(client.execute(`INSERT INTO ${child} VALUES(99)`), { code: "SQLITE_CONSTRAINT" });
});

test("describe tells parameters and columns, on both versions", async () => {
  for (const version of ["v2", "v3"]) {
    assert.equal((await fetch(`${url}${version}`)).status, 200);
    const { body } = await pipeline(version, [
      { type: "describe", sql: "SELECT :a AS x, ? AS y" },
      { type: "close" },
    ]);
    assert.deepEqual(body.results[0].response.result, {
      params: [{ name: ":a" }, { name: null }],
      cols: [
        { name: "x", decltype: null },
        { name: "y", decltype: null },
      ],
      is_explain: false,
      is_readonly: true,
    });
    assert.equal(body.baton, null);
  }
});

test("many clients at once lose nothing", async () => {
  const t = table();
  await client.execute(`CREATE TABLE ${t}(n INTEGER)`);
  await client.execute(`INSERT INTO ${t} VALUES(0)`);
  const writers = Array.from({ length: 8 }, async () => {
    const own = createClient({ url, authToken });
    for (let i = 0; i < 10; i++) {
      await own.batch([`UPDATE ${t} SET n = n + 1`, `SELECT n FROM ${t}`], "write");
    }
    own.close();
  });
  await Promise.all(writers);
  assert.deepEqual(rows(await client.execute(`SELECT n FROM ${t}`)), [[80]]);
});

test("a large value and a large result pass", async () => {
  const text = "x".repeat(3_000_000);
  assert.equal((await client.execute({ sql: "SELECT ?", args: [text] })).rows[0][0], text);
  const result = await client.execute(
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 50000) SELECT n, 'row ' || n FROM c",
  );
  assert.equal(result.rows.length, 50000);
  assert.deepEqual(Array.from(result.rows[49999]), [50000, "row 50000"]);
});

test("a wrong token is refused, and one for reading writes nothing", { skip: !authToken }, async () => {
  for (const token of [undefined, "wrong"]) {
    const stranger = createClient({ url, authToken: token });
    await assert.rejects(stranger.execute("SELECT 1"), { code: "UNAUTHORIZED" });
    stranger.close();
  }
  const t = table();
  await client.execute(`CREATE TABLE ${t}(a)`);
  const reader = createClient({ url, authToken: readToken });
  assert.deepEqual(rows(await reader.execute(`SELECT count(*) FROM ${t}`)), [[0]]);
  await assert.rejects(reader.execute(`INSERT INTO ${t} VALUES(1)`), { code: "SQLITE_READONLY" });
  await assert.rejects(reader.batch([`INSERT INTO ${t} VALUES(1)`], "write"), { code: "SQLITE_READONLY" });
  reader.close();
});

test("a database that is not there is told so", { skip: !process.env.PRIMARY_HAS_NO_CREATE }, async () => {
  const stranger = createClient({ url: `${base}/absent/`, authToken });
  await assert.rejects(stranger.execute("SELECT 1"), { code: "DATABASE_NOT_FOUND" });
  stranger.close();
});
