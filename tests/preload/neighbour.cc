// A library that is found through its user's RUNPATH alone.

extern "C" __attribute__((visibility("default"))) int turso_same_name() { return 2; }
