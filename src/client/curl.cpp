#include "client/curl.h"

#include <new>

#include "base/error.h"
#include "base/library.h"

namespace digdag::client {
namespace {

Curl load(const char* needed_by) {
  const Library library("libcurl.so.4", needed_by, "libcurl4");
  Curl functions{};
  decltype(&curl_global_init) global_init = nullptr;
  library.find(global_init, "curl_global_init");
  library.find(functions.easy_init, "curl_easy_init");
  library.find(functions.easy_cleanup, "curl_easy_cleanup");
  library.find(functions.easy_reset, "curl_easy_reset");
  library.find(functions.easy_setopt, "curl_easy_setopt");
  library.find(functions.easy_getinfo, "curl_easy_getinfo");
  library.find(functions.easy_perform, "curl_easy_perform");
  library.find(functions.easy_strerror, "curl_easy_strerror");
  library.find(functions.slist_append, "curl_slist_append");
  library.find(functions.slist_free_all, "curl_slist_free_all");
  if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw Error("io", "libcurl.so.4 cannot be started");
  return functions;
}

int on_progress(void* stopped, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return *static_cast<const std::atomic<bool>*>(stopped) ? 1 : 0;
}

}  // namespace

const Curl& curl(const char* needed_by) {
  static const Curl functions = load((std::string(needed_by) + " needs").c_str());
  return functions;
}

CurlHandle::CurlHandle(const Curl& library) : library_(library), handle_(library.easy_init()) {
  if (handle_ == nullptr) throw std::bad_alloc();
}

CurlHandle::~CurlHandle() {
  library_.easy_cleanup(handle_);
  for (curl_slist* list : lists_) library_.slist_free_all(list);
}

void CurlHandle::reset() {
  library_.easy_reset(handle_);
  for (curl_slist* list : lists_) library_.slist_free_all(list);
  lists_.clear();
}

void CurlHandle::set(CURLoption option, const std::vector<std::string>& lines) {
  curl_slist* list = nullptr;
  for (const std::string& line : lines) {
    curl_slist* longer = library_.slist_append(list, line.c_str());
    if (longer == nullptr) {
      library_.slist_free_all(list);
      throw std::bad_alloc();
    }
    list = longer;
  }
  if (list != nullptr) lists_.push_back(list);
  set(option, list);
}

void CurlHandle::stop_when(const std::atomic<bool>* stopped) {
  if (stopped == nullptr) return;
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, on_progress);
  set(CURLOPT_XFERINFODATA, stopped);
}

void CurlHandle::check(CURLcode code) const {
  if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLE_OK) throw Error("io", std::string("libcurl.so.4 is too old: ") + library_.easy_strerror(code));
}

}  // namespace digdag::client
