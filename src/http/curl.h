// libcurl, loaded when the first client is made and not before.
//
// A loadable extension brings its libraries into the host: libcurl and the thirty behind it take 4
// ms to load, and SQLite loads extensions RTLD_GLOBAL, so that their symbols would be everybody's.
// So it is opened by name, for itself; the names of its functions below stand for members of the
// table, as sqlite3ext.h does it. Debian's GnuTLS flavour first: hosts such as Node bring an
// OpenSSL of their own.

#ifndef TURSO_SRC_HTTP_CURL_H_
#define TURSO_SRC_HTTP_CURL_H_

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include <string>

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

// clang-format off
#define TURSO_CURL_FUNCTIONS(F)                                                           \
  F(global_init) F(free) F(easy_init) F(easy_cleanup) F(easy_setopt) F(easy_getinfo)      \
  F(easy_strerror) F(multi_init) F(multi_cleanup) F(multi_setopt) F(multi_add_handle)     \
  F(multi_remove_handle) F(multi_perform) F(multi_poll) F(multi_wakeup) F(multi_info_read) \
  F(slist_append) F(slist_free_all) F(url) F(url_cleanup) F(url_get) F(url_set)
// clang-format on

namespace turso {

struct CurlFunctions {
#define TURSO_CURL_MEMBER(name) decltype(&::curl_##name) name = nullptr;
  TURSO_CURL_FUNCTIONS(TURSO_CURL_MEMBER)
#undef TURSO_CURL_MEMBER
};

// Null if there is no libcurl, or one that is too old, or no memory for it; CurlProblem() then says
// which and what to install. What failed is tried again by the next call. Any thread.
const CurlFunctions* LoadCurl();
std::string CurlProblem();

}  // namespace turso

#define curl_free ::turso::LoadCurl()->free
#define curl_easy_init ::turso::LoadCurl()->easy_init
#define curl_easy_cleanup ::turso::LoadCurl()->easy_cleanup
#define curl_easy_setopt ::turso::LoadCurl()->easy_setopt
#define curl_easy_getinfo ::turso::LoadCurl()->easy_getinfo
#define curl_easy_strerror ::turso::LoadCurl()->easy_strerror
#define curl_multi_init ::turso::LoadCurl()->multi_init
#define curl_multi_cleanup ::turso::LoadCurl()->multi_cleanup
#define curl_multi_setopt ::turso::LoadCurl()->multi_setopt
#define curl_multi_add_handle ::turso::LoadCurl()->multi_add_handle
#define curl_multi_remove_handle ::turso::LoadCurl()->multi_remove_handle
#define curl_multi_perform ::turso::LoadCurl()->multi_perform
#define curl_multi_poll ::turso::LoadCurl()->multi_poll
#define curl_multi_wakeup ::turso::LoadCurl()->multi_wakeup
#define curl_multi_info_read ::turso::LoadCurl()->multi_info_read
#define curl_slist_append ::turso::LoadCurl()->slist_append
#define curl_slist_free_all ::turso::LoadCurl()->slist_free_all
#define curl_url ::turso::LoadCurl()->url
#define curl_url_cleanup ::turso::LoadCurl()->url_cleanup
#define curl_url_get ::turso::LoadCurl()->url_get
#define curl_url_set ::turso::LoadCurl()->url_set

#endif  // TURSO_SRC_HTTP_CURL_H_
