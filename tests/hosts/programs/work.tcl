# The work of tests/hosts/work.py, by Tcl's sqlite3. Tcl 8.6 has no characters beyond U+FFFF.
package require sqlite3
fconfigure stdout -encoding utf-8

if {[info exists env(TEST_LIBRARY)]} {
  sqlite3 loader :memory:
  loader enable_load_extension 1
  loader eval {SELECT load_extension($env(TEST_LIBRARY), 'sqlite3_tursovfs_default_init')}
  loader close
}
sqlite3 db [lindex $argv 0] -uri 1
db nullvalue null
db transaction {
  db eval {
    CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
    CREATE TABLE series(n INTEGER)
  }
  foreach {name price picture note} {
    "Gr\u00fc\u00dfe, \u4e16\u754c" 2.5 "\x00\xff\x80" - plain 0.25 - "" third - "" "it's"
  } {
    if {$picture eq "-"} {unset picture}
    if {$note eq "-"} {unset note}
    if {$price eq "-"} {unset price}
    db eval {INSERT INTO item(name, price, picture, note) VALUES ($name, $price, @picture, $note)}
  }
}
db transaction { for {set n 1} {$n <= 500} {incr n} { db eval {INSERT INTO series VALUES ($n)} } }
catch { db transaction { db eval {INSERT INTO item(name) VALUES ('lost')}; error no } }
puts "rolled back"
if {[catch {db eval {INSERT INTO item(name) VALUES ('plain')}} message]} { puts "refused: $message" }
db transaction {
  db eval {UPDATE item SET price = price * 2 WHERE name = 'plain'}
  db eval {DELETE FROM item WHERE name = 'third'}
}
db eval {SELECT id, name, price, picture, note FROM item ORDER BY id} {
  if {$picture ne "null"} { binary scan $picture H* picture }
  puts [join [list $id $name $price $picture $note] |]
}
puts [db onecolumn {SELECT sum(n) FROM series}]
db close
