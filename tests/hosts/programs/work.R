# The work of tests/hosts/work.py, by RSQLite.
library(DBI)

db <- dbConnect(RSQLite::SQLite(), commandArgs(trailingOnly = TRUE)[1])
work <- function() {
  dbWithTransaction(db, {
    dbExecute(db, "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT)")
    dbExecute(db, "CREATE TABLE series(n INTEGER)")
    dbExecute(db, "INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)", params = list(
      c("Grüße, 世界 🎈", "plain", "third"), c(2.5, 0.25, NA),
      list(as.raw(c(0x00, 0xff, 0x80)), NULL, raw(0)), c(NA, "", "it's")
    ))
  })
  dbWithTransaction(db, dbAppendTable(db, "series", data.frame(n = 1:500)))
  dbWithTransaction(db, {
    dbExecute(db, "INSERT INTO item(name) VALUES ('lost')")
    dbBreak()
  })
  cat("rolled back\n")
  tryCatch(
    dbExecute(db, "INSERT INTO item(name) VALUES (?)", params = list("plain")),
    error = function(e) cat("refused: ", conditionMessage(e), "\n", sep = "")
  )
  dbWithTransaction(db, {
    dbExecute(db, "UPDATE item SET price = price * 2 WHERE name = ?", params = list("plain"))
    dbExecute(db, "DELETE FROM item WHERE name = ?", params = list("third"))
  })
  rows <- dbGetQuery(db, "SELECT id, name, price, picture, note FROM item ORDER BY id")
  for (i in seq_len(nrow(rows))) {
    picture <- rows$picture[[i]]
    cat(rows$id[i], rows$name[i], rows$price[i],
      if (is.null(picture)) "null" else paste(picture, collapse = ""),
      if (is.na(rows$note[i])) "null" else rows$note[i], sep = "|")
    cat("\n")
  }
  cat(dbGetQuery(db, "SELECT sum(n) FROM series")[[1]], "\n", sep = "")
  dbDisconnect(db)
}
invisible(work())
