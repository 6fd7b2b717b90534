#include "client/curl.h"

#include <dlfcn.h>

#include <mutex>
#include <new>

#include "base/error.h"

namespace digdag::client {
namespace {

struct Loaded {
  Curl functions{};
  bool complete = false;
};

Loaded load() {
  Loaded loaded;
  void* library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);  // never closed: its threads and locks may live on
  if (library == nullptr) return loaded;
  loaded.complete = true;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    loaded.complete = loaded.complete && function != nullptr;
  };
  decltype(&curl_global_init) global_init = nullptr;
  find(global_init, "curl_global_init");
  find(loaded.functions.easy_init, "curl_easy_init");
  find(loaded.functions.easy_cleanup, "curl_easy_cleanup");
  find(loaded.functions.easy_setopt, "curl_easy_setopt");
  find(loaded.functions.easy_getinfo, "curl_easy_getinfo");
  find(loaded.functions.easy_perform, "curl_easy_perform");
  find(loaded.functions.easy_strerror, "curl_easy_strerror");
  find(loaded.functions.slist_append, "curl_slist_append");
  find(loaded.functions.slist_free_all, "curl_slist_free_all");
  loaded.complete = loaded.complete && global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return loaded;
}

int on_progress(void* stopped, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return *static_cast<const std::atomic<bool>*>(stopped) ? 1 : 0;
}

}  // namespace

const Curl& curl(const char* needed_by) {
  static const Loaded loaded = load();
  if (!loaded.complete) throw Error("io", std::string(needed_by) + " needs libcurl.so.4; install the package libcurl4");
  return loaded.functions;
}

CurlHandle::CurlHandle(const Curl& library) : library_(library), handle_(library.easy_init()) {
  if (handle_ == nullptr) throw std::bad_alloc();
}

CurlHandle::~CurlHandle() {
  library_.easy_cleanup(handle_);
  for (curl_slist* list : lists_) library_.slist_free_all(list);
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
