#pragma once
#include "executor/session_starter.h"
namespace digdag::schedule {
using executor::SessionStarter;
}
