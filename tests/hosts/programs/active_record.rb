# ActiveRecord with its migrations: up to version 3, work, down by one and up again. The argument is the name of the database.
require 'active_record'

ActiveRecord::Base.establish_connection(adapter: 'sqlite3', database: ARGV[0])
ActiveRecord::Migration.verbose = false

class CreateAuthors < ActiveRecord::Migration[6.1]
  def change
    create_table :authors do |t|
      t.string :name, null: false, index: { unique: true }
      t.timestamps
    end
  end
end

class CreateBooks < ActiveRecord::Migration[6.1]
  def change
    create_table :books do |t|
      t.references :author, null: false, foreign_key: true
      t.string :title
      t.binary :cover
    end
  end
end

# SQLite cannot alter a column: ActiveRecord makes the table anew.
class RequireTitles < ActiveRecord::Migration[6.1]
  def up
    change_column :books, :title, :string, limit: 200, null: false, default: 'untitled'
    rename_column :books, :cover, :picture
  end

  def down
    rename_column :books, :picture, :cover
    change_column :books, :title, :string, null: true, default: nil
  end
end

class Author < ActiveRecord::Base
  has_many :books
  validates :name, length: { maximum: 40 }
end

class Book < ActiveRecord::Base
  belongs_to :author
end

class Migrations < ActiveRecord::MigrationContext
  CLASSES = { 1 => CreateAuthors, 2 => CreateBooks, 3 => RequireTitles }.freeze

  def migrations
    CLASSES.map { |version, migration| migration.new(migration.name, version) }
  end
end

migrations = Migrations.new([], ActiveRecord::SchemaMigration)
migrations.migrate(2)
author = Author.create!(name: 'Grüße, 世界 🎈')
author.books.create!([{ title: 'one', cover: "\x00\xff".b }, { title: 'two' }])
migrations.migrate
migrations.rollback
migrations.migrate
Book.reset_column_information

Author.transaction do
  Author.create!(name: 'lost')
  raise ActiveRecord::Rollback
end
begin
  Author.create!(name: author.name)
rescue ActiveRecord::RecordNotUnique => e
  puts "refused: #{e.message.sub('SQLite3::ConstraintException: ', '')}"
end
Author.transaction do
  Book.find_by!(title: 'two').update!(title: 'second')
  Author.transaction(requires_new: true) do
    Book.delete_all
    raise ActiveRecord::Rollback
  end
end
puts Author.includes(:books).map { |a| "#{a.name}: #{a.books.map(&:title).sort.join(', ')}" }
puts Book.find_by!(title: 'one').picture.unpack1('H*')
puts ActiveRecord::SchemaMigration.all_versions.join(' ')
