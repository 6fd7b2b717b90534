#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dig/lru_cache.h"
#include "dig/template.h"
#include "dig/template_scanner.h"

namespace digdag::dig {

/// What many tasks have in common. Thread-safe, bounded.
struct TemplateEngine::Caches {
  /// A text and how it is cut.
  LruCache<std::shared_ptr<const Template>> templates{4096, std::size_t{8} << 20};

  /// The values of a text's expressions, by zone, text and the variables that it names; only of evaluations that asked neither
  /// the clock nor chance.
  LruCache<std::shared_ptr<const std::vector<std::string>>> results{4096, std::size_t{16} << 20};

  /// Whether a big value holds any `$`. The value itself is kept, so that its content stays what it was and where it was.
  struct Scan {
    Value value;
    bool has_dollar = false;
  };
  LruCache<Scan> scans{256, std::size_t{64} << 20};

  std::shared_ptr<const Template> template_of(std::string_view text, bool extended);
  /// Whether any string in the value holds a `$`.
  bool has_dollar(const Value& value);
};

}  // namespace digdag::dig
