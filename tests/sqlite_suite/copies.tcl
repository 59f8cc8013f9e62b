# Goes to the end of SQLite's test/tester.tcl when its databases are replicas.
#
# These tests copy databases by copying files. A copy of a replica's files is a backup of that replica, and its primary
# goes on where it was; what the tests mean is a database with that content. So a copy is made a plain database, which is
# what it is without a sidecar but for the byte that keeps other programs from writing to a replica, and the one that
# db_restore brings back becomes a replica of a database of its own.

rename do_copy_file turso_copy_file
proc do_copy_file {force from to} {
  if {[string match *-turso $to]} return
  turso_copy_file $force $from $to
  set file [open $to r+]
  fconfigure $file -translation binary
  if {[string match "SQLite format 3\000??\003" [read $file 19]]} {
    seek $file 18
    puts -nonewline $file \002
  }
  close $file
  file delete -force $to-turso
}

rename db_restore turso_restore
proc db_restore {} {
  turso_restore
  if {![file exists test.db]} return
  foreach suffix {"" -wal} {
    if {[file exists test.db$suffix]} { file rename -force test.db$suffix turso_copy$suffix }
  }
  foreach path [glob -nocomplain test.db-*] { file delete -force $path }
  if {[catch {
    sqlite_orig turso_db test.db
    turso_db restore main turso_copy
    turso_db close
  }]} {
    # What SQLite cannot read, because a test spoiled it, is left as the file that it is.
    catch { turso_db close }
    foreach path [glob -nocomplain test.db*] { file delete -force $path }
    foreach suffix {"" -wal} {
      if {[file exists turso_copy$suffix]} { file rename -force turso_copy$suffix test.db$suffix }
    }
  }
  foreach path [glob -nocomplain turso_copy*] { file delete -force $path }
}
