#pragma once

#include <type_traits>

namespace digdag {

/// A shared library that is opened when it is first needed: the binary does not link it, so that its start does not pay for it.
/// Never closed: threads, locks and handlers of it may live on.
class Library {
 public:
  /// `needed_by` (`http> needs`) and `package` stand in the error: Error(kind "io") `secrets need libcrypto.so.3; install the package
  /// libssl3`. They must outlive this object.
  Library(const char* file, const char* needed_by, const char* package);

  /// Looks a function up: `find(functions.easy_init, "curl_easy_init")`. The same error where the library does not have it.
  template <typename Function>
  void find(Function& function, const char* name) const {
    static_assert(std::is_pointer_v<Function>);
    function = reinterpret_cast<Function>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;
  [[noreturn]] void missing() const;

  const char *file_, *needed_by_, *package_;
  void* handle_;
};

}  // namespace digdag
