#include "cli/arguments.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace digdag::cli {

std::string trim_word(std::string_view word) {
  word = trim(word);
  if (word.size() >= 2 && word.front() == '"' && word.back() == '"') word = word.substr(1, word.size() - 2);
  return std::string(word);
}

bool asks_for_help(const std::vector<std::string>& words) {
  for (const std::string& given : words) {
    const std::string word = trim_word(given);
    if (word == "--") return false;
    if (word == "--help" || word == "-help") return true;
  }
  return false;
}

Arguments::Arguments(const std::vector<Option>& options, const std::vector<std::string>& words) : options_(&options) {
  bool only_positional = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = trim_word(words[i]);
    if (only_positional || !word.starts_with('-')) {
      if (!word.empty()) positional_.push_back(word);
      continue;
    }
    if (word == "--") {
      only_positional = true;
      continue;
    }
    if (word.starts_with("-X") && word.size() > 2 && !option_of(word) && option_of("-X")) {
      take(*option_of("-X"), "-X", word.substr(2));
      continue;
    }
    const std::size_t equals = word.starts_with("--") ? word.find('=') : std::string::npos;
    const std::string name = word.substr(0, equals);
    const Option* option = option_of(name);
    if (!option || (equals != std::string::npos && option->kind == Option::Kind::flag))
      throw UsageError{"Unknown option: " + word + hint_for(name)};
    if (option->kind == Option::Kind::flag || (option->kind == Option::Kind::optional_text && equals == std::string::npos)) {
      take(*option, name, "");
    } else if (equals != std::string::npos) {
      take(*option, name, word.substr(equals + 1));
    } else if (option->kind == Option::Kind::words) {
      const auto is_value = [](const std::string& next) { return !next.starts_with('-') || next == "-"; };
      if (i + 1 >= words.size() || !is_value(trim_word(words[i + 1]))) throw UsageError{"Expected a value after parameter " + name};
      while (i + 1 < words.size() && is_value(trim_word(words[i + 1]))) take(*option, name, trim_word(words[++i]));
    } else if (i + 1 < words.size()) {
      take(*option, name, trim_word(words[++i]));
    } else {
      throw UsageError{"Expected a value after parameter " + name};
    }
  }
}

/// Compared without dashes, which all have in common.
std::string Arguments::hint_for(std::string_view name) const {
  const auto stem = [](std::string_view option) {
    return std::string(option.substr(std::min(option.find_first_not_of('-'), option.size())));
  };
  std::vector<std::string> known;
  for (const Option& option : *options_) {
    for (const std::string& long_name : option.names) {
      if (long_name.starts_with("--") && !option.help.empty()) known.push_back(stem(long_name));
    }
  }
  const std::vector<std::string> similar = similar_words(stem(name), known);
  return similar.empty() ? "" : "\nhint: did you mean --" + similar.front() + "?";
}

const Option* Arguments::option_of(std::string_view name) const {
  for (const Option& option : *options_) {
    if (std::find(option.names.begin(), option.names.end(), name) != option.names.end()) return &option;
  }
  return nullptr;
}

void Arguments::take(const Option& option, std::string_view given_name, std::string value) {
  auto& values = values_[&option];
  switch (option.kind) {
    case Option::Kind::dynamic: {
      const std::size_t equals = value.find('=');
      if (equals == std::string::npos) throw UsageError{"Dynamic parameter expected a value of the form a=b but got:" + value};
      dynamic_.emplace_back(value.substr(0, equals), value.substr(equals + 1));
      break;
    }
    case Option::Kind::integer: {
      std::int64_t n = 0;
      const auto end = std::from_chars(value.data(), value.data() + value.size(), n);
      if (end.ec != std::errc() || end.ptr != value.data() + value.size()) {
        throw UsageError{"\"" + std::string(given_name) + "\": couldn't convert \"" + value + "\" to an integer"};
      }
      break;
    }
    default: break;
  }
  const bool repeatable = option.kind == Option::Kind::list || option.kind == Option::Kind::words || option.kind == Option::Kind::dynamic;
  if (!values.empty() && !repeatable) throw UsageError{"Can only specify option " + option.names.front() + " once."};
  values.push_back(std::move(value));
}

bool Arguments::has(std::string_view name) const {
  const Option* option = option_of(name);
  return option && values_.contains(option);
}

std::optional<std::string> Arguments::text(std::string_view name) const {
  const auto& values = list(name);
  if (values.empty()) return std::nullopt;
  return values.front();
}

std::string Arguments::text_or(std::string_view name, std::string fallback) const { return text(name).value_or(std::move(fallback)); }

std::int64_t Arguments::integer_or(std::string_view name, std::int64_t fallback) const {
  const auto value = text(name);
  return value ? std::stoll(*value) : fallback;
}

const std::vector<std::string>& Arguments::list(std::string_view name) const {
  static const std::vector<std::string> none;
  const auto found = values_.find(option_of(name));
  return found == values_.end() ? none : found->second;
}

std::vector<std::pair<std::string, std::string>> key_values(const std::vector<std::string>& values, std::string_view option) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& value : values) {
    bool first = true;
    for (const std::string& piece : split(value, ',')) {
      const std::size_t equals = piece.find('=');
      if (equals != std::string::npos) {
        pairs.emplace_back(piece.substr(0, equals), piece.substr(equals + 1));
      } else if (first) {
        throw UsageError{"Parameter " + std::string(option) + " expected a value of the form a=b but got:" + piece};
      } else {
        pairs.back().second += "," + piece;
      }
      first = false;
    }
  }
  return pairs;
}

std::string describe_options(const std::vector<Option>& options) {
  constexpr std::size_t help_column = 36;
  std::string text;
  for (const Option& option : options) {
    if (option.help.empty()) continue;
    std::string line = "    " + join(option.names, ", ");
    if (!option.value_name.empty()) line += (option.kind == Option::Kind::optional_text ? "" : " ") + option.value_name;
    if (line.size() + 1 > help_column) {
      text += line + "\n";
      line.clear();
    }
    line.resize(help_column, ' ');
    text += line + option.help + "\n";
  }
  return text;
}

}  // namespace digdag::cli
