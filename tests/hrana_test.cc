// Hrana as its clients speak it: JSON in, JSON out, on real SQLite files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "src/primary/hrana_request.h"
#include "src/primary/hrana_service.h"
#include "src/primary/json_text.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

// nlohmann's braces can mean an array or a copy; these are arrays.
using List = std::vector<Json>;

struct Reply {
  unsigned status = 0;
  std::string text;
  Json json;

  std::string baton() const {
    return json.value("/baton"_json_pointer, Json()).is_string() ? json["baton"].get<std::string>()
                                                                 : "";
  }
  // The result of request `i`, which must have gone well.
  Json result(size_t i = 0) const {
    EXPECT_EQ(json["results"][i].value("type", ""), "ok") << text;
    return json["results"][i].value("/response/result"_json_pointer, Json());
  }
  Json error(size_t i = 0) const {
    EXPECT_EQ(json["results"][i].value("type", ""), "error") << text;
    return json["results"][i].value("error", Json::object());
  }
  std::string code(size_t i = 0) const { return error(i).value("code", ""); }
};

Json Execute(const std::string& sql, List args = {}) {
  return {{"type", "execute"}, {"stmt", {{"sql", sql}, {"args", std::move(args)}}}};
}
Json Step(const std::string& sql, Json condition = nullptr) {
  return {{"stmt", {{"sql", sql}}}, {"condition", std::move(condition)}};
}
Json Batch(List steps) { return {{"type", "batch"}, {"batch", {{"steps", std::move(steps)}}}}; }
Json Sequence(const std::string& sql) { return {{"type", "sequence"}, {"sql", sql}}; }
Json Plain(const std::string& type) { return {{"type", type}}; }

Json Integer(const std::string& digits) { return {{"type", "integer"}, {"value", digits}}; }
Json Float(double value) { return {{"type", "float"}, {"value", value}}; }
Json Text(const std::string& text) { return {{"type", "text"}, {"value", text}}; }
Json Blob(const std::string& base64) { return {{"type", "blob"}, {"base64", base64}}; }
Json Null() { return {{"type", "null"}}; }

Json OneRow(List values) { return List{Json(std::move(values))}; }

class Hrana : public ::testing::Test {
 protected:
  Hrana() { Restart({}); }

  void Restart(HranaServiceOptions options) {
    service_ = std::make_unique<HranaService>(
        [this](const std::string& name) { return Open(name); }, options);
  }

  Result<SqlConnection> Open(const std::string& name) {
    if (name == "absent") return Status(Code::kNotFound, "there is no database absent");
    sqlite3* db = nullptr;
    int rc = sqlite3_open_v2(dir_.File(name + ".db").c_str(), &db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix");
    SqlConnection connection(db);
    EXPECT_EQ(rc, SQLITE_OK);
    sqlite3_exec(db, "PRAGMA journal_mode=WAL", nullptr, nullptr, nullptr);
    return connection;
  }

  Reply Send(const std::string& body, HranaVersion version = HranaVersion::k3,
             Access access = Access::kWrite, const std::string& database = "main") {
    ServedRequest request;
    request.body = body;
    request.departure = std::make_shared<Departure>();
    Reply reply;
    service_->Pipeline(version, database, access, request, [&reply](HttpResponse response) {
      reply.status = response.status;
      reply.text = *response.body;
      reply.json = Json::parse(reply.text, nullptr, false);
    });
    return reply;
  }
  Reply Ask(List requests, const std::string& baton = "", Access access = Access::kWrite) {
    Json body{{"baton", baton.empty() ? Json() : Json(baton)}, {"requests", std::move(requests)}};
    return Send(body.dump(), HranaVersion::k3, access);
  }
  // One statement on a stream of its own.
  Reply One(const std::string& sql, List args = {}) {
    return Ask({Execute(sql, std::move(args)), Plain("close")});
  }
  Json Rows(const std::string& sql, List args = {}) {
    return One(sql, std::move(args)).result()["rows"];
  }

  TempDir dir_;
  std::unique_ptr<HranaService> service_;
};

TEST_F(Hrana, ReturnsEveryKindOfValueAsItIs) {
  One("CREATE TABLE t(i INTEGER, r REAL, s TEXT, b BLOB, n)");
  List args{Integer("9223372036854775807"), Float(0.1), Text("na\u00efve \U0001F600 \\ \" \n"),
            Blob("AP8Q"), Null()};
  One("INSERT INTO t VALUES(?,?,?,?,?)", args);
  Json result = One("SELECT * FROM t").result();
  EXPECT_EQ(result["rows"], Json(List{Json(args)}));
  List cols;
  for (const auto& [name, type] : std::vector<std::pair<const char*, Json>>{
           {"i", "INTEGER"}, {"r", "REAL"}, {"s", "TEXT"}, {"b", "BLOB"}, {"n", ""}}) {
    cols.push_back({{"name", name}, {"decltype", type == "" ? Json() : type}});
  }
  EXPECT_EQ(result["cols"], Json(cols));
  EXPECT_EQ(Rows("SELECT typeof(i),typeof(r),typeof(s),typeof(b),typeof(n) FROM t")[0][3],
            Text("blob"));
}

TEST_F(Hrana, KeepsIntegersBeyondFiftyThreeBits) {
  for (const char* digits :
       {"9007199254740993", "-9223372036854775808", "9223372036854775807", "0", "-1"}) {
    EXPECT_EQ(Rows("SELECT ?", {Integer(digits)}), OneRow({Integer(digits)}));
  }
  // A number does as well, where it is exact.
  EXPECT_EQ(Rows("SELECT ?", {Json{{"type", "integer"}, {"value", 42}}}), OneRow({Integer("42")}));
}

TEST_F(Hrana, KeepsEveryBitOfAFloat) {
  for (double value :
       {0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e22, 9007199254740993.0, 2.5}) {
    Json row = Rows("SELECT ?", {Float(value)})[0];
    ASSERT_EQ(row[0]["type"], "float");
    double back = row[0]["value"];
    EXPECT_EQ(back, value);
    EXPECT_EQ(std::signbit(back), std::signbit(value));
  }
  EXPECT_THAT(One("SELECT 9e999, -9e999").text, HasSubstr("{\"type\":\"float\",\"value\":1e999},"
                                                          "{\"type\":\"float\",\"value\":-1e999}"));
}

TEST_F(Hrana, TakesBase64WithAndWithoutPadding) {
  EXPECT_EQ(Rows("SELECT hex(?), hex(?), hex(?)", {Blob("AQ=="), Blob("AQ"), Blob("")}),
            OneRow({Text("01"), Text("01"), Text("")}));
  EXPECT_EQ(Rows("SELECT typeof(?)", {Blob("")}), OneRow({Text("blob")}));
  EXPECT_EQ(Rows("SELECT x'01', x'0102', x'010203', x''"),
            OneRow({Blob("AQ"), Blob("AQI"), Blob("AQID"), Blob("")}));
  for (const char* wrong : {"A", "A*==", "AQ\n==", "=", "A=Q="}) {
    EXPECT_EQ(One("SELECT ?", {Blob(wrong)}).status, std::string(wrong) == "=" ? 200u : 400u)
        << wrong;
  }
}

TEST_F(Hrana, CountsWhatAStatementChanged) {
  One("CREATE TABLE t(a)");
  Json insert = One("INSERT INTO t VALUES(1),(2),(3)").result();
  EXPECT_EQ(insert["affected_row_count"], 3);
  EXPECT_EQ(insert["last_insert_rowid"], "3");
  Reply reply = Ask({Execute("INSERT INTO t VALUES(4)"), Execute("UPDATE t SET a=0 WHERE a>9"),
                     Execute("UPDATE t SET a=a+1"), Execute("SELECT * FROM t")});
  EXPECT_EQ(reply.result(1)["affected_row_count"], 0);
  EXPECT_EQ(reply.result(1)["last_insert_rowid"], Json());
  EXPECT_EQ(reply.result(2)["affected_row_count"], 4);
  EXPECT_EQ(reply.result(3)["affected_row_count"], 0);
  EXPECT_EQ(reply.result(3)["rows_read"], 4);
  Json returning = One("INSERT INTO t VALUES(7) RETURNING rowid, a").result();
  EXPECT_EQ(returning["rows"], OneRow({Integer("5"), Integer("7")}));
  EXPECT_EQ(returning["last_insert_rowid"], "5");
}

TEST_F(Hrana, BindsByPositionAndByName) {
  auto named = [](const std::string& sql, List args, List positional = {}) {
    return Json{
        {"type", "execute"},
        {"stmt", {{"sql", sql}, {"named_args", std::move(args)}, {"args", std::move(positional)}}}};
  };
  auto arg = [](const char* name, Json value) {
    return Json{{"name", name}, {"value", std::move(value)}};
  };
  List args{arg("a", Integer("1")), arg("@b", Integer("2")), arg("$c", Integer("3"))};
  EXPECT_EQ(Ask({named("SELECT :a, @b, $c, :a", args)}).result()["rows"][0],
            Json({Integer("1"), Integer("2"), Integer("3"), Integer("1")}));
  // Named wins over positional.
  EXPECT_EQ(Ask({named("SELECT ?, :a", {arg("a", Text("named"))}, {Text("first"), Text("second")})})
                .result()["rows"][0],
            Json({Text("first"), Text("named")}));
  EXPECT_EQ(Ask({named("SELECT :a", {arg("z", Null())})}).code(), "ARGS_INVALID");
  EXPECT_EQ(One("SELECT ?").code(), "ARGS_INVALID");
  EXPECT_EQ(One("SELECT ?", {Null(), Null()}).code(), "ARGS_INVALID");
  EXPECT_EQ(Rows("SELECT ?2, ?1", {Text("one"), Text("two")}), OneRow({Text("two"), Text("one")}));
}

TEST_F(Hrana, LeavesTheRowsOutIfTheyAreNotWanted) {
  Json request = Execute("SELECT 1 UNION SELECT 2");
  request["stmt"]["want_rows"] = false;
  Json result = Ask({request}).result();
  EXPECT_EQ(result["rows"], Json::array());
  EXPECT_EQ(result["cols"].size(), 1u);
}

TEST_F(Hrana, TakesOneStatementAndNoMore) {
  EXPECT_EQ(One("SELECT 1; SELECT 2").code(), "SQL_MANY_STATEMENTS");
  EXPECT_EQ(One("SELECT 1; nonsense").code(), "SQL_MANY_STATEMENTS");
  EXPECT_EQ(Rows("SELECT 1; -- and that is all\n ;; /* no more */ "), OneRow({Integer("1")}));
  EXPECT_EQ(Rows("/* first */ ; SELECT 1"), OneRow({Integer("1")}));
  EXPECT_EQ(One("").code(), "SQL_NO_STATEMENT");
  EXPECT_EQ(One(" -- nothing").code(), "SQL_NO_STATEMENT");
  EXPECT_EQ(One(std::string("SELECT 1\0, 2", 12)).code(), "SQL_PARSE_ERROR");
}

TEST_F(Hrana, SaysWhatWentWrongByTheNamesOfSqld) {
  One("CREATE TABLE t(a UNIQUE NOT NULL, b CHECK(b>0))");
  One("INSERT INTO t VALUES(1,1)");
  struct Case {
    const char* sql;
    const char* code;
    const char* extended;
    const char* message;
  };
  for (const Case& one : std::vector<Case>{
           {"INSERT INTO t VALUES(1,1)", "SQLITE_CONSTRAINT", "SQLITE_CONSTRAINT_UNIQUE",
            "UNIQUE constraint failed: t.a"},
           {"INSERT INTO t VALUES(NULL,1)", "SQLITE_CONSTRAINT", "SQLITE_CONSTRAINT_NOTNULL",
            "NOT NULL"},
           {"INSERT INTO t VALUES(2,0)", "SQLITE_CONSTRAINT", "SQLITE_CONSTRAINT_CHECK", "CHECK"},
           {"SELEC 1", "SQL_PARSE_ERROR", "SQLITE_ERROR", "near \"SELEC\": syntax error"},
           {"SELECT * FROM nope", "SQL_INPUT_ERROR", "SQLITE_ERROR", "no such table: nope"},
           {"SELECT abs(-9223372036854775807-1)", "SQLITE_UNKNOWN", "SQLITE_ERROR",
            "integer overflow"},
           {"SELECT zeroblob(2000000000)", "SQLITE_TOOBIG", "SQLITE_TOOBIG", "too big"}}) {
    Json error = One(one.sql).error();
    EXPECT_EQ(error["code"], one.code) << one.sql;
    EXPECT_EQ(error["extended_code"], one.extended) << one.sql;
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(one.message));
  }
}

TEST_F(Hrana, DoesEveryRequestOfAPipelineWhateverTheOthersDid) {
  Reply reply = Ask({Execute("SELECT 1"), Execute("nonsense"), Execute("SELECT 2")});
  EXPECT_EQ(reply.json["results"].size(), 3u);
  EXPECT_EQ(reply.code(1), "SQL_PARSE_ERROR");
  EXPECT_EQ(reply.result(2)["rows"], OneRow({Integer("2")}));
}

TEST_F(Hrana, RunsTheStepsOfABatchOnTheirConditions) {
  One("CREATE TABLE t(a UNIQUE)");
  auto ok = [](int step) { return Json{{"type", "ok"}, {"step", step}}; };
  auto error = [](int step) { return Json{{"type", "error"}, {"step", step}}; };
  auto both = [](const char* type, List conds) {
    return Json{{"type", type}, {"conds", std::move(conds)}};
  };
  auto inverse = [](Json cond) { return Json{{"type", "not"}, {"cond", std::move(cond)}}; };
  Json autocommit{{"type", "is_autocommit"}};
  Json result =
      Ask({Batch({Step("BEGIN"), Step("INSERT INTO t VALUES(1)", ok(0)),
                  Step("INSERT INTO t VALUES(1)", both("and", {ok(1), inverse(autocommit)})),
                  Step("COMMIT", ok(2)), Step("SELECT 'skipped'", error(3)),
                  Step("ROLLBACK", both("or", {ok(3), error(2)})), Step("SELECT 'end'", autocommit),
                  Step("SELECT 'never'", both("or", {})),
                  Step("SELECT 'always'", both("and", {}))})})
          .result();
  std::string ran;
  std::string failed;
  for (const Json& one : result["step_results"]) ran += one.is_null() ? '-' : '+';
  for (const Json& one : result["step_errors"]) failed += one.is_null() ? '-' : '!';
  EXPECT_EQ(ran, "++---++-+");
  EXPECT_EQ(failed, "--!------");
  EXPECT_EQ(result["step_errors"][2]["code"], "SQLITE_CONSTRAINT");
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), OneRow({Integer("0")}));
}

TEST_F(Hrana, RunsASequenceUpToItsFirstError) {
  EXPECT_EQ(
      Ask({Sequence("CREATE TABLE t(a); INSERT INTO t VALUES(1); -- then\n SELECT * FROM t;")})
          .status,
      200u);
  EXPECT_EQ(Ask({Sequence("INSERT INTO t VALUES(2); nonsense; INSERT INTO t VALUES(3)")}).code(),
            "SQL_PARSE_ERROR");
  EXPECT_EQ(Rows("SELECT group_concat(a) FROM t"), OneRow({Text("1,2")}));
  EXPECT_EQ(Ask({Sequence("")}).json["results"][0]["type"], "ok");
}

TEST_F(Hrana, DescribesAStatementWithoutRunningIt) {
  One("CREATE TABLE t(a INTEGER, b)");
  auto describe = [this](const char* sql) {
    return Ask({Json{{"type", "describe"}, {"sql", sql}}}).result();
  };
  Json result = describe("INSERT INTO t VALUES(:a, ?) RETURNING a, b+1 AS c");
  EXPECT_EQ(result["params"], Json({{{"name", ":a"}}, {{"name", nullptr}}}));
  EXPECT_EQ(result["cols"], Json({{{"name", "a"}, {"decltype", "INTEGER"}},
                                  {{"name", "c"}, {"decltype", nullptr}}}));
  EXPECT_EQ(result["is_readonly"], false);
  EXPECT_EQ(result["is_explain"], false);
  EXPECT_EQ(describe("EXPLAIN QUERY PLAN SELECT 1")["is_explain"], true);
  EXPECT_EQ(describe("SELECT 1")["is_readonly"], true);
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), OneRow({Integer("0")}));
}

TEST_F(Hrana, StoresTextsOnAStream) {
  Json store{{"type", "store_sql"}, {"sql_id", 7}, {"sql", "SELECT 'stored'"}};
  Json by_id{{"type", "execute"}, {"stmt", {{"sql_id", 7}}}};
  Json drop{{"type", "close_sql"}, {"sql_id", 7}};
  Reply first = Ask({store, by_id});
  EXPECT_EQ(first.result(1)["rows"], OneRow({Text("stored")}));
  Reply second = Ask({by_id, drop, drop, store}, first.baton());
  EXPECT_EQ(second.result(0)["rows"], OneRow({Text("stored")}));
  // Under a number that is taken, or with one that is not: the protocol is broken, and the stream
  // gone.
  EXPECT_EQ(Ask({store}, second.baton()).status, 400u);
  EXPECT_EQ(Ask({Execute("SELECT 1")}, second.baton()).status, 400u);
  EXPECT_EQ(Ask({by_id}).status, 400u);
  EXPECT_EQ(service_->counts().streams_open, 0u);
}

TEST_F(Hrana, KeepsATransactionOpenBetweenRequests) {
  One("CREATE TABLE t(a)");
  Reply first = Ask({Execute("BEGIN IMMEDIATE"), Execute("INSERT INTO t VALUES(1)")});
  ASSERT_FALSE(first.baton().empty());
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), OneRow({Integer("0")}));
  Reply second = Ask({Execute("SELECT count(*) FROM t"), Plain("get_autocommit")}, first.baton());
  EXPECT_EQ(second.result(0)["rows"], OneRow({Integer("1")}));
  EXPECT_EQ(second.json["results"][1]["response"]["is_autocommit"], false);
  EXPECT_NE(second.baton(), first.baton());
  Reply third = Ask({Execute("COMMIT"), Plain("close"), Execute("SELECT 1")}, second.baton());
  EXPECT_EQ(third.baton(), "");
  EXPECT_EQ(third.code(2), "STREAM_CLOSED");
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), OneRow({Integer("1")}));
}

TEST_F(Hrana, RollsBackWhatAClosedStreamLeavesOpen) {
  One("CREATE TABLE t(a)");
  Ask({Execute("BEGIN"), Execute("INSERT INTO t VALUES(1)"), Plain("close")});
  EXPECT_EQ(Rows("SELECT count(*) FROM t"), OneRow({Integer("0")}));
  EXPECT_EQ(service_->counts().streams_open, 0u);
}

TEST_F(Hrana, TakesEachBatonOnceAndNoOther) {
  Reply first = Ask({Execute("SELECT 1")});
  Reply second = Ask({Execute("SELECT 2")}, first.baton());
  EXPECT_EQ(second.status, 200u);
  EXPECT_THAT(Ask({Execute("SELECT 3")}, first.baton()).text, HasSubstr("already been used"));
  // (HR1) The stream stands where it stood.
  Reply third = Ask({Execute("SELECT 4")}, second.baton());
  EXPECT_EQ(third.status, 200u);
  EXPECT_EQ(Ask({Execute("SELECT 5")}, third.baton(), Access::kRead).status, 400u);
  Json body{{"baton", third.baton()}, {"requests", Json::array()}};
  EXPECT_EQ(Send(body.dump(), HranaVersion::k3, Access::kWrite, "other").status, 400u);
  std::string forged = third.baton();
  forged[2] = forged[2] == 'A' ? 'B' : 'A';
  EXPECT_EQ(Ask({Execute("SELECT 6")}, forged).status, 400u);
  EXPECT_EQ(Ask({Execute("SELECT 7")}, "x").status, 400u);
  EXPECT_EQ(Ask({Execute("SELECT 8")}, third.baton()).status, 200u);
}

TEST_F(Hrana, GivesNoBatonTwice) {
  std::set<std::string> batons;
  std::string baton;
  for (int i = 0; i < 50; ++i) {
    Reply reply = Ask({Execute("SELECT 1")}, i % 5 ? baton : "");
    baton = reply.baton();
    EXPECT_TRUE(batons.insert(baton).second);
  }
}

TEST_F(Hrana, ExpiresAStreamThatNobodyUses) {
  HranaServiceOptions options;
  options.stream_idle = milliseconds(50);
  Restart(options);
  One("CREATE TABLE t(a)");
  Reply open = Ask({Execute("BEGIN IMMEDIATE"), Execute("INSERT INTO t VALUES(1)")});
  // The lock is free again once the stream is gone: the busy handler waits for that.
  EXPECT_EQ(One("INSERT INTO t VALUES(2)").result()["affected_row_count"], 1);
  Reply late = Ask({Execute("COMMIT")}, open.baton());
  EXPECT_EQ(late.status, 400u);
  EXPECT_EQ(late.json["code"], "STREAM_EXPIRED");
  EXPECT_EQ(Rows("SELECT group_concat(a) FROM t"), OneRow({Text("2")}));
}

TEST_F(Hrana, EndsAnIdleTransactionSoonerWhileItKeepsAnotherFromWriting) {
  HranaServiceOptions options;
  options.stream_idle = seconds(3600);
  options.blocking_idle = milliseconds(50);
  Restart(options);
  One("CREATE TABLE t(a)");
  Reply reading = Ask({Execute("BEGIN"), Execute("SELECT * FROM t")});
  Reply writing = Ask({Execute("BEGIN IMMEDIATE"), Execute("INSERT INTO t VALUES(1)")});
  EXPECT_EQ(One("INSERT INTO t VALUES(2)").result()["affected_row_count"], 1);
  EXPECT_EQ(Ask({Execute("COMMIT")}, writing.baton()).json["code"], "STREAM_EXPIRED");
  EXPECT_EQ(Ask({Execute("COMMIT")}, reading.baton()).status, 200u);
  EXPECT_EQ(Rows("SELECT group_concat(a) FROM t"), OneRow({Text("2")}));
}

TEST_F(Hrana, SaysThatTheDatabaseIsBusyWhenTheWaitIsOver) {
  HranaServiceOptions options;
  options.session.busy_timeout = milliseconds(30);
  Restart(options);
  One("CREATE TABLE t(a)");
  Reply open = Ask({Execute("BEGIN IMMEDIATE")});
  EXPECT_EQ(One("INSERT INTO t VALUES(2)").code(), "SQLITE_BUSY");
}

TEST_F(Hrana, InterruptsAStatementWhoseClientHungUp) {
  ServedRequest request;
  request.departure = std::make_shared<Departure>();
  std::shared_ptr<Departure> departure = request.departure;
  request.body = Json{{"requests",
                       {Execute("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) "
                                "SELECT count(*) FROM c"),
                        Execute("CREATE TABLE too_late(a)")}}}
                     .dump();
  std::thread hanging_up([&] {
    while (service_->counts().streams_open == 0) std::this_thread::yield();
    departure->Announce();
  });
  std::string answer;
  service_->Pipeline(HranaVersion::k3, "main", Access::kWrite, request,
                     [&](HttpResponse response) { answer = *response.body; });
  hanging_up.join();
  EXPECT_EQ(Json::parse(answer)["results"][0]["error"]["code"], "SQLITE_INTERRUPT");
  EXPECT_EQ(service_->counts().streams_open, 0u);
  EXPECT_EQ(One("SELECT * FROM too_late").code(), "SQL_INPUT_ERROR");
}

TEST_F(Hrana, LetsATokenForReadingWriteNothing) {
  One("CREATE TABLE t(a UNIQUE)");
  for (const char* sql :
       {"INSERT INTO t VALUES(1)", "UPDATE t SET a=1", "DELETE FROM t", "CREATE TABLE u(a)",
        "DROP TABLE t", "PRAGMA user_version=3", "BEGIN IMMEDIATE", "VACUUM", "REINDEX",
        "ALTER TABLE t ADD COLUMN b", "ANALYZE"}) {
    Reply reply = Ask({Execute(sql), Sequence(sql)}, "", Access::kRead);
    EXPECT_EQ(reply.code(0), "SQLITE_READONLY") << sql;
    EXPECT_EQ(reply.code(1), "SQLITE_READONLY") << sql;
    EXPECT_THAT(reply.error(0)["message"].get<std::string>(), HasSubstr("may only read"));
  }
  EXPECT_EQ(Ask({Execute("PRAGMA query_only=0")}, "", Access::kRead).code(), "SQLITE_AUTH");
  Reply reads = Ask({Execute("BEGIN"), Execute("SELECT count(*) FROM t"), Execute("COMMIT")}, "",
                    Access::kRead);
  EXPECT_EQ(reads.result(1)["rows"], OneRow({Integer("0")}));
}

TEST_F(Hrana, RefusesToWriteInATransactionBegunReadOnly) {
  One("CREATE TABLE t(a)");
  Reply reply =
      Ask({Execute("BEGIN TRANSACTION READONLY"), Execute("SELECT * FROM t"),
           Execute("INSERT INTO t VALUES(1)"), Execute("ROLLBACK"),
           Execute("INSERT INTO t VALUES(2)"), Execute(" begin\nreadonly ;"), Execute("COMMIT")});
  EXPECT_EQ(reply.code(2), "SQLITE_READONLY");
  for (size_t i : {0, 1, 3, 4, 5, 6}) reply.result(i);
}

TEST_F(Hrana, KeepsSqlInsideItsDatabase) {
  std::string file = dir_.File("secret.db");
  for (const std::string& sql : std::vector<std::string>{
           "ATTACH '" + file + "' AS x", "ATTACH ':memory:' AS x", "VACUUM INTO '" + file + "'",
           "SELECT load_extension('x')", "PRAGMA writable_schema=ON",
           "PRAGMA temp_store_directory='/tmp'", "PRAGMA wal_checkpoint",
           "PRAGMA hard_heap_limit=1", "SELECT writefile('x','y')"}) {
    Reply reply = One(sql);
    EXPECT_TRUE(reply.code() == "SQLITE_AUTH" || sql.find("writefile") != std::string::npos)
        << reply.text;
  }
  EXPECT_NE(access(file.c_str(), F_OK), 0);
  EXPECT_EQ(One("ATTACH ? AS x", {Text(file)}).code(), "SQLITE_AUTH");
  EXPECT_EQ(
      One("INSERT INTO sqlite_schema VALUES('table','x','x',2,'')").json["results"][0]["type"],
      "error");
}

TEST_F(Hrana, AnswersPragmasThatTuneWithoutObeyingThem) {
  for (const char* sql :
       {"PRAGMA journal_mode=DELETE", "PRAGMA synchronous=OFF", "PRAGMA locking_mode=EXCLUSIVE"}) {
    EXPECT_EQ(One(sql).json["results"][0]["type"], "ok") << sql;
  }
  Reply reply = Ask({Execute("PRAGMA synchronous=OFF"), Execute("PRAGMA synchronous"),
                     Execute("PRAGMA journal_mode")});
  EXPECT_EQ(reply.result(1)["rows"], OneRow({Integer("2")}));
  EXPECT_EQ(reply.result(2)["rows"], OneRow({Text("wal")}));
  EXPECT_EQ(Rows("PRAGMA foreign_keys"), OneRow({Integer("1")}));
  EXPECT_EQ(One("VACUUM").json["results"][0]["type"], "ok");
}

TEST_F(Hrana, SaysSoWhenATextIsNotUtf8) {
  Json error = One("SELECT CAST(x'ff' AS TEXT) AS broken").error();
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("\"broken\""));
  EXPECT_EQ(Rows("SELECT hex(CAST(? AS TEXT))", {Blob("/w==")}), OneRow({Text("FF")}));
}

TEST_F(Hrana, RefusesABodyThatIsNotARequest) {
  std::vector<std::string> bodies{"", "x", "[]", "{}", R"({"requests":1})", R"({"requests":[1]})"};
  bodies.push_back(R"({"baton":5,"requests":[]})");
  for (const char* request :
       {R"({"type":"fly"})", R"({"type":"execute"})", R"({"type":"sequence"})",
        R"({"type":"store_sql","sql":"x"})", R"({"type":"close_sql"})", R"({"type":"batch"})",
        "{\"type\":\"sequence\",\"sql\":\"\xff\"}",
        R"({"type":"describe","sql":"x","sql_id":1})"}) {
    bodies.push_back(std::string(R"({"requests":[)") + request + "]}");
  }
  for (const char* statement :
       {"{}", R"({"sql":"x","sql_id":1})", R"({"sql":1})", R"({"sql_id":1.5})",
        R"({"sql_id":2147483648})", R"({"sql_id":18446744073709551615})",
        R"({"sql_id":-2147483649})", R"({"sql":"x","args":{}})", R"({"sql":"x","want_rows":1})",
        R"({"sql":"x","named_args":[{"name":"a"}]})"}) {
    bodies.push_back(std::string(R"({"requests":[{"type":"execute","stmt":)") + statement + "}]}");
  }
  for (const char* value :
       {"1", R"({"type":"integer","value":"1x"})", R"({"type":"integer","value":""})",
        R"({"type":"integer","value":"9223372036854775808"})", R"({"type":"blob","base64":1})",
        R"({"type":"integer","value":9223372036854775808})", R"({"type":"text"})",
        R"({"type":"float","value":"1"})", R"({"type":"date"})"}) {
    bodies.push_back(R"({"requests":[{"type":"execute","stmt":{"sql":"x","args":[)" +
                     std::string(value) + "]}}]}");
  }
  for (const char* condition :
       {R"({"type":"ok","step":0})", R"({"type":"ok","step":-1})", R"({"type":"maybe"})",
        R"({"type":"not"})", R"({"type":"and","conds":1})"}) {
    bodies.push_back(
        R"({"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"x"},"condition":)" +
        std::string(condition) + "}]}}]}");
  }
  for (const std::string& body : bodies) {
    Reply reply = Send(body);
    EXPECT_EQ(reply.status, 400u) << body;
    EXPECT_FALSE(reply.text.empty());
  }
  EXPECT_EQ(service_->counts().streams_open, 0u);
}

// Whatever arrives is answered or refused, and leaves nothing behind.
TEST_F(Hrana, SurvivesBodiesThatAreAlmostRequests) {
  Rng random(TestSeed());
  const std::string whole = Json{
      {"baton", nullptr},
      {"requests",
       {Batch({Step("SELECT 1", {{"type", "not"}, {"cond", {{"type", "is_autocommit"}}}}),
               Step("SELECT :a")}),
        Execute("SELECT ?", {Integer("1")}), Sequence("SELECT 1; SELECT 2"),
        Plain("close")}}}.dump();
  for (int i = 0; i < 3000; ++i) {
    std::string body = whole;
    for (uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
      const size_t at = random() % body.size();
      switch (random() % 3) {
        case 0: body[at] = static_cast<char>(random()); break;
        case 1: body.erase(at, random() % 8); break;
        default: body.insert(at, body.substr(random() % body.size(), random() % 12)); break;
      }
      if (body.empty()) break;
    }
    Reply reply = Send(body);
    EXPECT_TRUE(reply.status == 200 || reply.status == 400) << body;
    if (reply.status == 200 && !reply.baton().empty()) Ask({Plain("close")}, reply.baton());
    ASSERT_EQ(service_->counts().streams_open, 0u) << body;
  }
}

TEST_F(Hrana, SurvivesConditionsNestedWithoutEnd) {
  std::string condition = R"({"type":"and","conds":[]})";
  std::string open;
  std::string shut;
  for (int i = 0; i < 100000; ++i) {
    open += R"({"type":"not","cond":)";
    shut += "}";
  }
  const std::string before =
      R"({"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"SELECT 1"},"condition":)";
  EXPECT_EQ(Send(before + open + condition + shut + "}]}}]}").status, 400u);
}

TEST_F(Hrana, DoesNotSpeakVersionThreeInVersionTwo) {
  EXPECT_EQ(Send(R"({"requests":[{"type":"get_autocommit"}]})", HranaVersion::k2).status, 400u);
  EXPECT_EQ(Send(R"({"requests":[{"type":"get_autocommit"}]})", HranaVersion::k3).status, 200u);
}

TEST_F(Hrana, SaysThatADatabaseIsNotThere) {
  Reply reply = Send(R"({"requests":[]})", HranaVersion::k3, Access::kWrite, "absent");
  EXPECT_EQ(reply.status, 404u);
  EXPECT_THAT(reply.json["message"].get<std::string>(), HasSubstr("absent"));
}

TEST_F(Hrana, StreamsABatchAsACursor) {
  ServedRequest request;
  request.departure = std::make_shared<Departure>();
  request.body =
      Json{{"batch",
            {{"steps",
              {Step("CREATE TABLE t(a)"), Step("INSERT INTO t VALUES(1),(2)"), Step("nonsense"),
               Step("SELECT 1", {{"type", "ok"}, {"step", 2}}), Step("SELECT a FROM t")}}}}}
          .dump();
  std::vector<Json> lines;
  service_->Cursor("main", Access::kWrite, request, [&](HttpResponse response) {
    std::istringstream text(*response.body);
    for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  });
  std::vector<std::string> types;
  for (size_t i = 1; i < lines.size(); ++i) types.push_back(lines[i]["type"]);
  EXPECT_EQ(types,
            (std::vector<std::string>{"step_begin", "step_end", "step_begin", "step_end",
                                      "step_error", "step_begin", "row", "row", "step_end"}));
  EXPECT_TRUE(lines[0]["baton"].is_string());
  EXPECT_EQ(lines[4]["last_insert_rowid"], "2");
  EXPECT_EQ(lines[6]["step"], 4);
  EXPECT_EQ(lines[8]["row"], Json({Integer("2")}));
}

TEST_F(Hrana, BoundsTheSizeOfAnAnswer) {
  HranaServiceOptions options;
  options.session.result_max = 1000;
  Restart(options);
  EXPECT_EQ(One("SELECT hex(zeroblob(600))").code(), "RESPONSE_TOO_LARGE");
  List steps;
  for (int i = 0; i < 5; ++i) steps.push_back(Step("SELECT hex(zeroblob(200))"));
  Json result = Ask({Batch(steps)}).result();
  EXPECT_TRUE(result["step_results"][0].is_object());
  EXPECT_EQ(result["step_errors"][4]["code"], "RESPONSE_TOO_LARGE");
}

TEST_F(Hrana, BoundsTheNumberOfStreams) {
  HranaServiceOptions options;
  options.streams_max = 2;
  Restart(options);
  Ask({Execute("SELECT 1")});
  Reply second = Ask({Execute("SELECT 1")});
  EXPECT_EQ(Ask({Execute("SELECT 1")}).status, 429u);
  Ask({Plain("close")}, second.baton());
  EXPECT_EQ(Ask({Execute("SELECT 1")}).status, 200u);
}

TEST_F(Hrana, ClosesEveryStreamWhenItStops) {
  One("CREATE TABLE t(a)");
  Reply open = Ask({Execute("BEGIN IMMEDIATE"), Execute("INSERT INTO t VALUES(1)")});
  service_->Stop();
  EXPECT_EQ(service_->counts().streams_open, 0u);
  EXPECT_EQ(Ask({Execute("COMMIT")}, open.baton()).status, 400u);
  EXPECT_EQ(One("SELECT 1").status, 503u);
}

TEST_F(Hrana, LetsManyClientsWriteAtOnce) {
  One("CREATE TABLE t(a)");
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([this] {
      for (int i = 0; i < 25; ++i) {
        Reply reply = Ask({Batch({Step("BEGIN IMMEDIATE"),
                                  Step("INSERT INTO t SELECT count(*) FROM t"), Step("COMMIT")}),
                           Plain("close")});
        EXPECT_EQ(reply.result()["step_errors"], Json({nullptr, nullptr, nullptr}));
      }
    });
  }
  for (std::thread& one : clients) one.join();
  EXPECT_EQ(Rows("SELECT count(DISTINCT a) FROM t"), OneRow({Integer("100")}));
}

TEST(JsonText, WritesTextAsJsonReadsIt) {
  for (const std::string& text :
       {std::string(), std::string("\0\x01\"\\/\n", 6), std::string("\u20ac \U0001F600")}) {
    std::string out;
    ASSERT_TRUE(AppendJsonText(&out, text));
    EXPECT_EQ(Json::parse(out), Json(text));
  }
  std::string out = "before";
  EXPECT_FALSE(AppendJsonText(&out, "\xc3"));
  EXPECT_EQ(out, "before");
  EXPECT_EQ(JsonText("a\xff"), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace turso
