#include <gmock/gmock.h>

#include <cstring>

#include "command/command.h"
#include "dig/script_worker.h"

/// The tests start guards and JavaScript workers: this program again, as the real one does.
int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--guard") == 0) return digdag::command::guard_main();
  if (argc == 2 && std::strcmp(argv[1], "--js-worker") == 0) return digdag::dig::script_worker_main();
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
