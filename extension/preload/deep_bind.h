// Libraries that were loaded with RTLD_DEEPBIND: they look for symbols in their own libraries
// before ours, as the modules of PHP do. The calls that we take the place of are led to us one by
// one, and no other symbol is bound otherwise than it would be. Any thread.

#ifndef TURSO_EXTENSION_PRELOAD_DEEP_BIND_H_
#define TURSO_EXTENSION_PRELOAD_DEEP_BIND_H_

#include <link.h>

namespace turso::preload {

// dlopen() of a file with a slash in its name and with RTLD_DEEPBIND in `flags`.
void* OpenDeepBound(const char* file, int flags);

bool IsDeepBound(const link_map* library);

}  // namespace turso::preload

#endif  // TURSO_EXTENSION_PRELOAD_DEEP_BIND_H_
