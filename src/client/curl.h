#pragma once

#define CURL_DISABLE_TYPECHECK  // its macros do not fit functions that are looked up at run time
#include <curl/curl.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo

#include <atomic>
#include <string>
#include <vector>

namespace digdag::client {

/// The functions of libcurl that are used, looked up when the first request needs them: the binary does not link the
/// library, so its start does not pay for it.
struct Curl {
  decltype(&curl_easy_init) easy_init;
  decltype(&curl_easy_cleanup) easy_cleanup;
  decltype(&curl_easy_reset) easy_reset;
  decltype(&curl_easy_setopt) easy_setopt;
  decltype(&curl_easy_getinfo) easy_getinfo;
  decltype(&curl_easy_perform) easy_perform;
  decltype(&curl_easy_strerror) easy_strerror;
  decltype(&curl_slist_append) slist_append;
  decltype(&curl_slist_free_all) slist_free_all;
};

/// Loaded once. `needed_by` stands in the error: `http>`. Error(kind "io") `http> needs libcurl.so.4; install the package
/// libcurl4`. Thread-safe.
const Curl& curl(const char* needed_by);

/// An easy handle with its header or recipient lists.
class CurlHandle {
 public:
  explicit CurlHandle(const Curl& library);
  ~CurlHandle();
  CurlHandle(const CurlHandle&) = delete;
  CurlHandle& operator=(const CurlHandle&) = delete;

  template <typename T>
  void set(CURLoption option, T value) {
    check(library_.easy_setopt(handle_, option, value));
  }
  void set(CURLoption option, const std::string& value) { check(library_.easy_setopt(handle_, option, value.c_str())); }
  void set(CURLoption option, const std::vector<std::string>& lines);
  /// Ends the transfer with CURLE_ABORTED_BY_CALLBACK soon after `stopped` became true; null: never.
  void stop_when(const std::atomic<bool>* stopped);
  /// Forgets all that was set; open connections stay.
  void reset();

  CURL* get() const { return handle_; }

 private:
  void check(CURLcode code) const;

  const Curl& library_;
  CURL* handle_;
  std::vector<curl_slist*> lists_;
};

}  // namespace digdag::client
