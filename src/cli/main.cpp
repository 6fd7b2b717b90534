#include <cstring>
#include <iostream>

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--version") == 0) {
      std::cout << "0.11.0\n";
      return 0;
    }
  }
  std::cerr << "error: no command is built yet\n";
  return 1;
}
