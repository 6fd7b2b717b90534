#include "base/library.h"

#include <dlfcn.h>

#include <string>

#include "base/error.h"

namespace digdag {

Library::Library(const char* file, const char* needed_by, const char* package)
    : file_(file), needed_by_(needed_by), package_(package), handle_(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) missing();
}

void* Library::symbol(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr) missing();
  return found;
}

void Library::missing() const { throw Error("io", std::string(needed_by_) + " " + file_ + "; install the package " + package_); }

}  // namespace digdag
