# For the own tests of DBD::SQLite, most of which use databases in memory: makes each of these a new file, of the name that a
# database at the primary can have.
package MemoryAsFile;

use strict;
use warnings;
use DBI;

my $connect = \&DBI::connect;
my $made    = 0;

no warnings 'redefine';
*DBI::connect = sub {
    my ($class, $source, @more) = @_;
    $source =~ s/^(dbi:SQLite:(?:dbname=|database=)?):memory:$/$1 . "memory$$-" . ++$made/ie if defined $source;
    return $connect->($class, $source, @more);
};

1;
