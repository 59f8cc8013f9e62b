# For R_PROFILE_USER=/usr/local/share/turso_vfs/hooks/turso_vfs.R: loads libturso_vfs into the SQLite of RSQLite, as its default
# VFS, when a program loads that package. A program that does not is left alone.
#
# The library is the one in TURSO_VFS_EXTENSION, else the one in /usr/local/lib.

setHook(packageEvent("RSQLite", "onLoad"), function(...) {
  library <- Sys.getenv("TURSO_VFS_EXTENSION", "/usr/local/lib/libturso_vfs.so")
  loader <- DBI::dbConnect(RSQLite::SQLite(), ":memory:", loadable.extensions = TRUE)
  on.exit(DBI::dbDisconnect(loader))
  tryCatch(
    DBI::dbGetQuery(loader, "SELECT load_extension(?, ?)", list(library, "sqlite3_tursovfs_default_init")),
    error = function(e) {
      text <- paste0("turso_vfs.R, which R_PROFILE_USER names, cannot load ", library, ": ", conditionMessage(e),
        ". Install libturso_vfs there, set TURSO_VFS_EXTENSION to where it is, or unset R_PROFILE_USER.")
      # R goes on when a hook fails. The program must not, with a plain file where it expects a replica.
      namespace <- asNamespace("RSQLite")
      unlockBinding("SQLite", namespace)
      assign("SQLite", function(...) stop(text, call. = FALSE), namespace)
      lockBinding("SQLite", namespace)
    }
  )
})

# What R would have read, had R_PROFILE_USER not named this file.
for (profile in c(".Rprofile", "~/.Rprofile")) {
  if (file.exists(profile)) {
    sys.source(profile, globalenv())
    break
  }
}
