// Build tool: compiles a script to the bytecode of the JavaScript engine and writes it as a C++ source file.
//   compile_script SCRIPT.js NAME OUT.cpp
#include <duktape.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

namespace {

/// moment asks for today's date whenever it parses anything, though it seldom needs it. Asked only where it is used, most
/// expressions are known to give the same result every time and can be remembered.
constexpr std::string_view eager_clock = "currentDate = currentDateArray(config);";
constexpr std::string_view lazy_clock =
    "currentDate = {get 0() { return currentDateArray(config)[0]; }, get 1() { return currentDateArray(config)[1]; }, "
    "get 2() { return currentDateArray(config)[2]; }};";

void make_clock_lazy(std::string& source) {
  const std::size_t at = source.find(eager_clock);
  if (at != std::string::npos) source.replace(at, eager_clock.size(), lazy_clock);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: compile_script SCRIPT.js NAME OUT.cpp\n";
    return 2;
  }
  std::ifstream in(argv[1], std::ios::binary);
  std::string source{std::istreambuf_iterator<char>(in), {}};
  if (!in || source.empty()) {
    std::cerr << argv[1] << ": cannot be read\n";
    return 1;
  }
  make_clock_lazy(source);
  duk_context* const js = duk_create_heap_default();
  if (!js) return 1;
  duk_push_string(js, argv[1]);
  if (duk_pcompile_lstring_filename(js, DUK_COMPILE_EVAL, source.data(), source.size()) != 0) {
    std::cerr << argv[1] << ": " << duk_safe_to_string(js, -1) << "\n";
    return 1;
  }
  duk_dump_function(js);
  duk_size_t size = 0;
  const auto* const bytes = static_cast<const unsigned char*>(duk_get_buffer(js, -1, &size));
  std::ofstream out(argv[3]);
  out << "#include <cstddef>\nnamespace digdag::dig {\nextern const unsigned char " << argv[2] << "_bytecode[];\nextern const std::size_t "
      << argv[2] << "_bytecode_size;\nconst unsigned char " << argv[2] << "_bytecode[] = {";
  for (duk_size_t i = 0; i < size; ++i) out << (i % 32 == 0 ? "\n" : "") << static_cast<int>(bytes[i]) << ",";
  out << "};\nconst std::size_t " << argv[2] << "_bytecode_size = " << size << ";\n}  // namespace digdag::dig\n";
  out.close();
  duk_destroy_heap(js);
  return out ? 0 : 1;
}
