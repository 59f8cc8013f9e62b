<?php
// For auto_prepend_file: loads libturso_vfs into the SQLite of PHP, which PDO and the class SQLite3 share, as its default VFS.
// sqlite3.extension_dir must be the directory of the library; turso_vfs.ini sets both.

(static function (): void {
    if (!class_exists('SQLite3', false)) {
        return;
    }
    $loader = new SQLite3(':memory:');
    $loader->enableExceptions(true);
    try {
        $loader->loadExtension('libturso_vfs.so');
        $loader->querySingle('SELECT turso_default()');
    } catch (Exception $e) {
        $directory = ini_get('sqlite3.extension_dir');
        throw new RuntimeException("turso_vfs.php, which auto_prepend_file names, cannot load libturso_vfs.so from "
            . ($directory === '' ? 'sqlite3.extension_dir, which is not set' : $directory) . ': ' . $e->getMessage()
            . '. Install it there, set sqlite3.extension_dir to where it is, or unset auto_prepend_file.');
    } finally {
        $loader->close();
    }
})();
