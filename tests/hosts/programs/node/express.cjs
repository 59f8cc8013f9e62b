// A small application: a list of notes that everybody sees, by Express and better-sqlite3. The argument is the database.
// It prints its address. All that it knows of replicas is whom to ask why a note could not be taken.
const Database = require('better-sqlite3');
const express = require('express');
const path = require('node:path');

const db = new Database(process.argv[2]);
db.exec('CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)');
const all = db.prepare('SELECT text FROM note ORDER BY id').pluck();
const add = db.transaction((text) => db.prepare('INSERT INTO note(text) VALUES (?)').run(text));

const app = express();
app.use(express.json());
app.get('/', (_request, response) => response.sendFile(path.resolve('notes.html')));
app.get('/notes', (_request, response) => response.json(all.all()));
app.post('/notes', (request, response) => {
  try {
    add.immediate(request.body.text);
    response.json({ notes: all.all() });
  } catch (problem) {
    const more = db.prepare('SELECT turso_last_error()').pluck().get();
    response.status(503).json({ problem: `${problem.code}: ${more}` });
  }
});
const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
process.on('SIGTERM', () => {
  server.closeAllConnections();
  server.close(() => db.close());
});
