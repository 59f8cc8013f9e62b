import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.HexFormat;

/** The work of tests/hosts/work.py, by JDBC. The argument is the URL of JDBC. */
public class Work {
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  /** The one line. */
  private static void loadTurso(String library) throws SQLException {
    try (Connection loader = DriverManager.getConnection("jdbc:sqlite::memory:?enable_load_extension=true");
        PreparedStatement load = loader.prepareStatement("SELECT load_extension(?, ?)")) {
      load.setString(1, library);
      load.setString(2, "sqlite3_tursovfs_default_init");
      load.execute();
    }
  }

  public static void main(String[] arguments) throws SQLException {
    String library = System.getenv("TEST_LIBRARY");
    if (library != null) {
      loadTurso(library);
    }
    try (Connection db = DriverManager.getConnection(arguments[0])) {
      db.setAutoCommit(false);
      fill(db);
      db.commit();
      series(db);
      db.commit();
      update(db, "INSERT INTO item(name) VALUES (?)", "lost");
      db.rollback();
      OUT.println("rolled back");
      db.setAutoCommit(true);
      try {
        update(db, "INSERT INTO item(name) VALUES (?)", "plain");
      } catch (SQLException refused) {
        OUT.println("refused: " + refused.getMessage().replaceAll("^.*\\((.*)\\)$", "$1"));
      }
      db.setAutoCommit(false);
      update(db, "UPDATE item SET price = price * 2 WHERE name = ?", "plain");
      update(db, "DELETE FROM item WHERE name = ?", "third");
      db.commit();
      show(db);
    }
  }

  private static void fill(Connection db) throws SQLException {
    try (Statement schema = db.createStatement()) {
      schema.executeUpdate(
          "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, price REAL, picture BLOB, note TEXT)");
      schema.executeUpdate("CREATE TABLE series(n INTEGER)");
    }
    try (PreparedStatement insert =
        db.prepareStatement("INSERT INTO item(name, price, picture, note) VALUES (?, ?, ?, ?)")) {
      add(insert, "Grüße, 世界 🎈", 2.5, new byte[] {0, (byte) 0xff, (byte) 0x80}, null);
      add(insert, "plain", 0.25, null, "");
      add(insert, "third", null, new byte[0], "it's");
      insert.executeBatch();
    }
  }

  private static void add(PreparedStatement insert, String name, Double price, byte[] picture, String note)
      throws SQLException {
    insert.setString(1, name);
    if (price == null) {
      insert.setNull(2, Types.REAL);
    } else {
      insert.setDouble(2, price);
    }
    insert.setBytes(3, picture);
    insert.setString(4, note);
    insert.addBatch();
  }

  private static void series(Connection db) throws SQLException {
    try (PreparedStatement insert = db.prepareStatement("INSERT INTO series VALUES (?)")) {
      for (int n = 1; n <= 500; ++n) {
        insert.setInt(1, n);
        insert.executeUpdate();
      }
    }
  }

  private static void update(Connection db, String sql, String name) throws SQLException {
    try (PreparedStatement statement = db.prepareStatement(sql)) {
      statement.setString(1, name);
      statement.executeUpdate();
    }
  }

  private static void show(Connection db) throws SQLException {
    try (Statement statement = db.createStatement()) {
      try (ResultSet row =
          statement.executeQuery("SELECT id, name, price, picture, note FROM item ORDER BY id")) {
        while (row.next()) {
          byte[] picture = row.getBytes(4);
          OUT.println(
              String.join(
                  "|",
                  row.getString(1),
                  row.getString(2),
                  Double.toString(row.getDouble(3)),
                  picture == null ? "null" : HexFormat.of().formatHex(picture),
                  String.valueOf(row.getString(5))));
        }
      }
      try (ResultSet sum = statement.executeQuery("SELECT sum(n) FROM series")) {
        OUT.println(sum.getInt(1));
      }
    }
  }
}
