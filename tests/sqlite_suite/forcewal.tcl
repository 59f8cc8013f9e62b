# Goes into SQLite's test/permutations.test: every database of every file is in WAL mode from its first connection on.
test_suite "forcewal" -prefix "" -description {
  Every connection begins with PRAGMA journal_mode=wal.
} -files [
  test_set $alltests
] -presql {
  PRAGMA journal_mode=wal;
}
