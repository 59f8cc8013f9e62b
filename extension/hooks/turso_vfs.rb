# For RUBYOPT=-r/usr/local/share/turso_vfs/hooks/turso_vfs.rb: loads libturso_vfs into the SQLite of the gem sqlite3, as
# its default VFS, when a program requires that gem. A program that does not is left alone.
#
# The library is the one in TURSO_VFS_EXTENSION, else the one installed beside this file's directory.

module TursoVfs
  LIBRARY = ENV['TURSO_VFS_EXTENSION'] || File.expand_path('../../../lib/libturso_vfs.so', __dir__)

  # Before the program's first open: a connection has the VFS that was the default when it was opened.
  def self.load
    return if @loaded
    SQLite3::Database.new(':memory:') do |db|
      db.enable_load_extension(true)
      db.execute('SELECT load_extension(?, ?)', [LIBRARY, 'sqlite3_tursovfs_default_init'])
    end
    @loaded = true
  rescue SQLite3::Exception => e
    raise LoadError, "turso_vfs.rb, which RUBYOPT names, cannot load #{LIBRARY}: #{e.message}. " \
                     'Install libturso_vfs there, set TURSO_VFS_EXTENSION to where it is, or unset RUBYOPT.'
  end

  def require(name)
    required = super
    TursoVfs.load if required && name.to_s.end_with?('sqlite3') && defined?(::SQLite3::Database.new)
    required
  end

  ::Kernel.prepend(self)
end
