#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace digdag {

/// For tests: waits until it holds, whatever time that takes; false where it does not within a minute.
inline bool eventually(const std::function<bool()>& holds) {
  for (const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1); std::chrono::steady_clock::now() < give_up;) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return holds();
}

}  // namespace digdag
