#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace digdag::command {

/// Keeps the end of a stream: whole lines, at most 8 KiB. (Of one longer line, its end.)
class LastOutput {
 public:
  void add(std::string_view bytes) {
    if (bytes.size() >= most_bytes) {
      cut_ = cut_ || !kept_.empty() || bytes.size() > most_bytes;
      before_ = bytes.size() > most_bytes ? bytes[bytes.size() - most_bytes - 1] : kept_.empty() ? before_ : kept_.back();
      kept_.assign(bytes.substr(bytes.size() - most_bytes));
      return;
    }
    kept_ += bytes;
    if (kept_.size() > 2 * most_bytes) shorten();
  }

  std::string take() {
    if (kept_.size() > most_bytes) shorten();
    // The first line is whole only where the byte before it ended one.
    if (cut_ && before_ != '\n') {
      if (const auto end = kept_.find('\n'); end != std::string::npos && end + 1 < kept_.size()) kept_.erase(0, end + 1);
    }
    return std::move(kept_);
  }

 private:
  static constexpr std::size_t most_bytes = 8192;

  void shorten() {
    const std::size_t surplus = kept_.size() - most_bytes;
    before_ = kept_[surplus - 1];
    kept_.erase(0, surplus);
    cut_ = true;
  }

  std::string kept_;
  char before_ = '\n';  ///< the byte before `kept_`
  bool cut_ = false;
};

}  // namespace digdag::command
