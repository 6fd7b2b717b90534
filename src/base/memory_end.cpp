#include "base/memory_end.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <string_view>

#include "base/log.h"

namespace digdag {
namespace {

std::terminate_handler usual_end = nullptr;

[[noreturn]] void end_of_the_program() {
  // None at all: there was no memory for the exception itself. (Our threads join, so that is nobody else's end.)
  if (abi::__cxa_current_exception_type() == nullptr) end_for_lack_of_memory();
  try {
    throw;
  } catch (const std::bad_alloc&) {
    end_for_lack_of_memory();
  } catch (...) {
  }
  usual_end();
  std::abort();
}

}  // namespace

void tell_when_memory_ends() {
  usual_end = std::set_terminate(end_of_the_program);
  // The C library loads what it unwinds with when it needs that for the first time, and aborts where there is no memory for it.
  void* frame = nullptr;
  backtrace(&frame, 1);
}

void end_for_lack_of_memory() {
  constexpr std::string_view text =
      "error: out of memory\nhint: raise the limit of memory (`ulimit -v`, that of the container), or run fewer tasks at once "
      "(--max-task-threads)\n";
  static std::atomic_flag told;
  while (told.test_and_set()) pause();  // another thread ends the program
  rescue_logged_output();
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
  _exit(1);
}

}  // namespace digdag
