# The work of tests/hosts/work.py, by DBD::SQLite.
use strict;
use warnings;
use DBI;
use utf8;
binmode STDOUT, ':utf8';

my $db = DBI->connect("dbi:SQLite:dbname=$ARGV[0]", '', '',
    { RaiseError => 1, PrintError => 0, AutoCommit => 1, sqlite_unicode => 1 });
$db->begin_work;
$db->do('CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT)');
$db->do('CREATE TABLE series(n INTEGER)');
my $insert = $db->prepare('INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)');
for my $row (['Grüße, 世界 🎈', 2.5, "\x00\xff\x80", undef], ['plain', 0.25, undef, ''], ['third', undef, '', q(it's)]) {
    $insert->bind_param(1, $row->[0]);
    $insert->bind_param(2, $row->[1]);
    $insert->bind_param(3, $row->[2], DBI::SQL_BLOB);
    $insert->bind_param(4, $row->[3]);
    $insert->execute;
}
$db->commit;
$db->begin_work;
$db->do('INSERT INTO series VALUES (?)', undef, $_) for 1 .. 500;
$db->commit;

$db->begin_work;
$db->do(q{INSERT INTO item(name) VALUES ('lost')});
$db->rollback;
print "rolled back\n";
eval { $db->do('INSERT INTO item(name) VALUES (?)', undef, 'plain'); 1 } or print 'refused: ', $db->errstr, "\n";

$db->begin_work;
$db->do('UPDATE item SET price = price * 2 WHERE name = ?', undef, 'plain');
$db->do('DELETE FROM item WHERE name = ?', undef, 'third');
$db->commit;
for my $row (@{ $db->selectall_arrayref('SELECT id, name, price, picture, note FROM item ORDER BY id') }) {
    $row->[3] = unpack 'H*', $row->[3] if defined $row->[3];
    print join('|', map { defined ? $_ : 'null' } @$row), "\n";
}
print $db->selectrow_array('SELECT sum(n) FROM series'), "\n";
$insert->finish;
$db->disconnect;
