<?php
// The work of tests/hosts/work.py, by PDO.

$db = new PDO("sqlite:$argv[1]", null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$db->beginTransaction();
$db->exec('CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
           CREATE TABLE series(n INTEGER)');
$insert = $db->prepare('INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)');
foreach ([['Grüße, 世界 🎈', 2.5, "\x00\xff\x80", null], ['plain', 0.25, null, ''], ['third', null, '', "it's"]] as $row) {
    $insert->bindValue(1, $row[0]);
    $insert->bindValue(2, $row[1]);
    $insert->bindValue(3, $row[2], $row[2] === null ? PDO::PARAM_NULL : PDO::PARAM_LOB);
    $insert->bindValue(4, $row[3]);
    $insert->execute();
}
$db->commit();
$db->beginTransaction();
$series = $db->prepare('INSERT INTO series VALUES (?)');
for ($n = 1; $n <= 500; ++$n) {
    $series->execute([$n]);
}
$db->commit();

$db->beginTransaction();
$db->exec("INSERT INTO item(name) VALUES ('lost')");
$db->rollBack();
echo "rolled back\n";
try {
    $insert->execute(['plain', null, null, null]);
} catch (PDOException $e) {
    echo 'refused: ', $e->errorInfo[2], "\n";
}

$db->beginTransaction();
$db->prepare('UPDATE item SET price = price * 2 WHERE name = ?')->execute(['plain']);
$db->prepare('DELETE FROM item WHERE name = ?')->execute(['third']);
$db->commit();
foreach ($db->query('SELECT id, name, price, picture, note FROM item ORDER BY id', PDO::FETCH_NUM) as $row) {
    $row[3] = $row[3] === null ? null : bin2hex($row[3]);
    echo implode('|', array_map(fn ($value) => $value ?? 'null', $row)), "\n";
}
echo $db->query('SELECT sum(n) FROM series')->fetchColumn(), "\n";
