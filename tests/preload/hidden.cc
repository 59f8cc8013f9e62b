// A program with a SQLite of its own that nobody can see: preload_hidden FILE SQL.

#include <cstdio>

extern "C" int turso_try(const char* how, const char* name, const char* vfs, const char* sql,
                         char* answer, int size);

int main(int, char** arguments) {
  char answer[4096];
  const int code = turso_try("open_v2", arguments[1], nullptr, arguments[2], answer, sizeof answer);
  std::fputs(answer, stdout);
  return code;
}
