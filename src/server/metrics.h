#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace digdag::server {

/// What is counted and measured, as Prometheus reads it (spec/decisions.md R-33). Thread-safe.
class Metrics {
 public:
  /// `method="GET",status="200"`; values are escaped.
  static std::string labels(const std::vector<std::pair<std::string_view, std::string_view>>& pairs);

  /// Says what a counter counts; before `add`. Its name ends with `_total`.
  void declare_counter(std::string_view name, std::string_view help);
  void add(std::string_view counter, std::string_view labels = {}, double amount = 1);
  /// A value that is asked for when somebody reads. Must not block.
  void measure(std::string_view gauge, std::string_view help, std::function<double()> value);

  /// The text format 0.0.4, sorted by name.
  std::string text() const;

 private:
  struct Family {
    std::string help;
    std::map<std::string, double, std::less<>> values;  ///< of a counter, by labels
    std::function<double()> measured;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
};

/// Memory, threads, open files and processor time of this process.
void measure_process(Metrics& metrics);

}  // namespace digdag::server
