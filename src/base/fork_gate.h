// Lets a fork() find no thread of ours in the middle of something.
//
// Whatever another thread has locked at a fork stays locked in the child for ever: a mutex of
// SQLite's, the guard of a static object. So the threads that an application does not know of keep
// its fork waiting for a moment. They are inside, except where they only wait.
// Any thread.

#ifndef TURSO_SRC_BASE_FORK_GATE_H_
#define TURSO_SRC_BASE_FORK_GATE_H_

namespace turso {

class ForkGate {
 public:
  // No fork happens in its life, except in the life of an Away. May be nested.
  class Inside {
   public:
    Inside();
    ~Inside();
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;
  };
  // Around a wait in which nothing is locked that a child needs. Nothing for a thread that is not
  // inside.
  class Away {
   public:
    Away();
    ~Away();
    Away(const Away&) = delete;
    Away& operator=(const Away&) = delete;

   private:
    int depth_;
  };

  // By whoever forks: waits until no other thread is inside, but not for ever, and keeps them out.
  static void BeforeFork();
  static void AfterForkInParent();
  static void AfterForkInChild();
};

}  // namespace turso

#endif  // TURSO_SRC_BASE_FORK_GATE_H_
