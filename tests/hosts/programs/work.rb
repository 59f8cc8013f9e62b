# The work of tests/hosts/work.py, by the gem sqlite3.
require 'sqlite3'

db = SQLite3::Database.new(ARGV[0])
db.transaction do
  db.execute_batch('CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT);
                    CREATE TABLE series(n INTEGER)')
  insert = db.prepare('INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)')
  insert.execute('Grüße, 世界 🎈', 2.5, SQLite3::Blob.new("\x00\xff\x80".b), nil)
  insert.execute('plain', 0.25, nil, '')
  insert.execute('third', nil, SQLite3::Blob.new(''), "it's")
  insert.close
end
db.transaction { (1..500).each { |n| db.execute('INSERT INTO series VALUES (?)', [n]) } }
begin
  db.transaction do
    db.execute("INSERT INTO item(name) VALUES ('lost')")
    raise 'no'
  end
rescue RuntimeError
  puts 'rolled back'
end
begin
  db.execute('INSERT INTO item(name) VALUES (?)', ['plain'])
rescue SQLite3::ConstraintException => e
  puts "refused: #{e.message}"
end
db.transaction do
  db.execute('UPDATE item SET price = price * 2 WHERE name = ?', ['plain'])
  db.execute('DELETE FROM item WHERE name = ?', ['third'])
end
db.execute('SELECT id, name, price, picture, note FROM item ORDER BY id') do |id, name, price, picture, note|
  puts [id, name, price, picture ? picture.unpack1('H*') : 'null', note.nil? ? 'null' : note].join('|')
end
puts db.get_first_value('SELECT sum(n) FROM series')
