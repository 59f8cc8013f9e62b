// For NODE_OPTIONS="--require /usr/local/share/turso_vfs/hooks/turso_vfs.cjs": loads libturso_vfs into the SQLite of better-sqlite3
// or of node:sqlite, as its default VFS, before a program's first open. A program that opens no database is left alone.
//
// The library is the one in TURSO_VFS_EXTENSION, else the one installed beside this file's directory.
//
// The npm package sqlite3 opens and loads in threads of its own, which nothing here could hold back: it needs
// LD_PRELOAD=/usr/local/lib/libturso_preload.so, which reaches its SQLite, and is told so when it opens a replica without.
'use strict';

const { builtinModules, syncBuiltinESMExports } = require('node:module');
const fs = require('node:fs');
const path = require('node:path');

const LIBRARY = process.env.TURSO_VFS_EXTENSION || path.resolve(__dirname, '../../../lib/libturso_vfs.so');
const ENTRY_POINT = 'sqlite3_tursovfs_default_init';
const ADVICE = 'Install libturso_vfs there, set TURSO_VFS_EXTENSION to where it is, or unset NODE_OPTIONS.';

// Whether this open is of a replica: only asked where the library is not loaded and the answer is a refusal.
function isReplica(name) {
  name = String(name instanceof URL ? name.href : (name ?? ''));
  if (name === '' || name === ':memory:') return false;
  if (process.env.TURSO_VFS_PROVISION) return true;
  if (/[?&]vfs=turso(&|#|$)/.test(name)) return true;
  let file = name;
  if (name.startsWith('file:')) {
    file = name.replace(/^file:(\/\/[^/]*)?/, '').replace(/[?#].*$/s, '');
    file = file.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
  }
  try {
    file = fs.realpathSync(file);
  } catch {
    file = path.resolve(file);
  }
  return fs.existsSync(`${file}-turso`) || isListed(file);
}

function isListed(file) {
  const globs = (process.env.TURSO_VFS_FILES || '').split(':').filter(Boolean);
  return globs.some((glob) => {
    const literal = glob.replace(/[.+^${}()|\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.');
    return new RegExp(`^${literal}$`, 's').test(glob.includes('/') ? file : path.basename(file));
  });
}

// `Database`, before the first construction of which the library is loaded. memory(Database, arguments) makes a connection
// to ":memory:", and load(connection) does it.
function loadingFirst(Database, { memory, load }) {
  let loaded = false;
  let refusal;
  return new Proxy(Database, {
    construct(target, given, newTarget) {
      if (!loaded && refusal === undefined) {
        try {
          const loader = memory(target, given);
          try {
            load(loader);
          } finally {
            loader.close();
          }
          loaded = true;
        } catch (error) {
          refusal = error;
        }
      }
      // A second copy of SQLite, which cannot have replicas, may well have other databases.
      if (!loaded && !(/another copy of SQLite/.test(refusal.message) && !isReplica(given[0]))) {
        throw new Error(
          `turso_vfs.cjs, which NODE_OPTIONS names, cannot load ${LIBRARY}: ${reasonOf(refusal)}. ${ADVICE}`,
          { cause: refusal },
        );
      }
      return Reflect.construct(target, given, newTarget);
    },
  });
}

// SQLite tries the name with ".so" at its end last, and speaks of that file.
function reasonOf(refusal) {
  if (!refusal.message.includes(`${LIBRARY}.so`)) return refusal.message;
  try {
    Reflect.apply(dlopen, process, [{ exports: {} }, LIBRARY]);
  } catch (error) {
    return error.message;
  }
  return refusal.message;
}

const BETTER_SQLITE3 = {
  // What the package's own `new Database(':memory:')` gives its addon; of the rest, which is not the same in all versions,
  // as much as this program gave.
  memory(Database, given) {
    const asked = [':memory:', ':memory:', true, false, false, 5000];
    return new Database(...asked, ...given.slice(asked.length).fill(null));
  },
  load: (connection) => connection.loadExtension(LIBRARY, ENTRY_POINT),
};

const NODE_SQLITE = {
  memory: (DatabaseSync) => new DatabaseSync(':memory:', { allowExtension: true }),
  load(connection) {
    connection.loadExtension(LIBRARY);
    connection.prepare('SELECT turso_default()').get();
  },
};

function refuseReplicas(Database) {
  return new Proxy(Database, {
    construct(target, given, newTarget) {
      if (isReplica(given[0])) {
        throw new Error(
          `${given[0]} is a replica, and the npm package sqlite3 comes to it by ` +
            'LD_PRELOAD=/usr/local/lib/libturso_preload.so, which is not set: NODE_OPTIONS is not enough for it.',
        );
      }
      return Reflect.construct(target, given, newTarget);
    },
  });
}

// The addons that have a SQLite of their own, known by what they export.
function adopt(addon) {
  if (typeof addon !== 'object' || addon === null || typeof addon.Database !== 'function') return;
  if (typeof addon.StatementIterator === 'function') {
    addon.Database = loadingFirst(addon.Database, BETTER_SQLITE3);
  } else if ('OPEN_URI' in addon && !/libturso_preload/.test(process.env.LD_PRELOAD || '')) {
    addon.Database = refuseReplicas(addon.Database);
  }
}

const dlopen = process.dlopen;
process.dlopen = function (module, ...rest) {
  const answer = Reflect.apply(dlopen, process, [module, ...rest]);
  adopt(module.exports);
  return answer;
};

// Some versions of Node warn of node:sqlite when it is asked for, which is our doing here.
function hookNodeSqlite() {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    const sqlite = require('node:sqlite');
    sqlite.DatabaseSync = loadingFirst(sqlite.DatabaseSync, NODE_SQLITE);
    syncBuiltinESMExports();
  } finally {
    process.emitWarning = emitWarning;
  }
}
if (builtinModules.includes('node:sqlite')) hookNodeSqlite();
