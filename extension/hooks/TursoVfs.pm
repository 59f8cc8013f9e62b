# For PERL5OPT=-MTursoVfs with this directory in PERL5LIB: loads libturso_vfs into the SQLite of DBD::SQLite, as its default
# VFS, when a program loads that module. A program that does not is left alone.
#
# The library is the one in TURSO_VFS_EXTENSION, else the one installed beside this file's directory.
package TursoVfs;

use strict;
use warnings;
use File::Spec ();

my $directory = File::Spec->rel2abs((File::Spec->splitpath(__FILE__))[1]);
my $library   = $ENV{TURSO_VFS_EXTENSION} || "$directory/../../../lib/libturso_vfs.so";

sub load {
    my $db = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1, PrintError => 0 });
    $db->sqlite_enable_load_extension(1);
    eval {
        $db->do('SELECT load_extension(?, ?)', undef, $library, 'sqlite3_tursovfs_default_init');
        1;
    } or die "TursoVfs.pm, which PERL5OPT names, cannot load $library: "
           . $db->errstr . '. Install libturso_vfs there, set TURSO_VFS_EXTENSION to where it is, or unset PERL5OPT.' . "\n";
    $db->disconnect;
}

# Perl asks this for every module that it has to find. The driver is found without us; then, before the program goes on,
# the library is loaded into it; and what we answer is a module that is empty.
my $hook;
$hook = sub {
    my (undef, $file) = @_;
    return if $file ne 'DBD/SQLite.pm';
    @INC = grep { !ref || $_ != $hook } @INC;
    require DBI;
    require DBD::SQLite;
    load();
    my $nothing = '1;';
    return \$nothing;
};
unshift @INC, $hook;

1;
