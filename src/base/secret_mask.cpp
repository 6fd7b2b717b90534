#include <algorithm>
#include <array>

#include "base/base64.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

namespace digdag {

namespace {

constexpr std::string_view mask_text = "***";

/// Base64 without the padding at the end, so that both ways of writing it are found.
std::string unpadded_base64(std::string_view bytes) {
  std::string text = base64(bytes);
  text.resize(text.find_last_not_of('=') + 1);
  return text;
}

std::string url_safe(std::string text) {
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  return text;
}

}  // namespace

bool names_a_secret(std::string_view key) {
  const std::size_t last = key.find_last_of(".-_");
  const std::string segment = lower(last == std::string_view::npos ? key : key.substr(last + 1));
  static constexpr std::array<std::string_view, 6> secret = {"password", "secret", "token", "key", "apikey", "credential"};
  return std::find(secret.begin(), secret.end(), segment) != secret.end();
}

void SecretMask::add(std::string_view key, std::string_view value) {
  // The longer a value, the less likely it stands somewhere by chance.
  if (value.size() < (names_a_secret(key) ? 4 : 8)) return;
  const std::string json = to_json(Value(value));
  const std::string form = form_urlencode(value);
  const std::string encoded = unpadded_base64(value);
  for (const std::string& needle :
       {std::string(value), encoded, url_safe(encoded), form, replace_all(form, "+", "%20"), json.substr(1, json.size() - 2)}) {
    if (std::find(needles_.begin(), needles_.end(), needle) != needles_.end()) continue;
    needles_.push_back(needle);
    begins_[static_cast<unsigned char>(needle[0])] = true;
  }
  // Of a secret that was written with an editor or `echo`, what is shown seldom has the last line end.
  const std::size_t end = value.find_last_not_of("\r\n");
  if (end != std::string_view::npos && end + 1 < value.size()) return add(key, value.substr(0, end + 1));
  // Programs often show one line of many.
  if (value.find('\n') == std::string_view::npos) return;
  for (const std::string& line : split(value, '\n')) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) add("", line);
  }
}

std::string SecretMask::mask(std::string_view piece) {
  if (needles_.empty() && kept_.empty()) return std::string(piece);
  kept_ += piece;
  return take(false);
}

std::string SecretMask::finish() { return take(true); }

std::string SecretMask::mask_all(std::string_view text) const {
  if (needles_.empty()) return std::string(text);
  SecretMask whole = *this;
  whole.kept_ = text;
  whole.covered_ = 0;
  return whole.take(true);
}

std::string SecretMask::take(bool last) {
  std::string shown;
  const std::string_view text = kept_;
  std::size_t covered = covered_;  // everything before this belongs to a secret whose mask is shown already
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    if (begins_[static_cast<unsigned char>(text[at])]) {
      const std::string_view rest = text.substr(at);
      std::size_t found = 0;
      bool more_to_come = false;
      for (const std::string& needle : needles_) {
        if (rest.starts_with(needle)) {
          found = std::max(found, needle.size());
        } else if (std::string_view(needle).starts_with(rest)) {
          more_to_come = true;
        }
      }
      if (more_to_come && !last) break;
      if (found > 0) {
        if (at >= covered) shown += mask_text;
        covered = std::max(covered, at + found);
      }
    }
    if (at >= covered) shown += text[at];
  }
  covered_ = covered > at ? covered - at : 0;
  kept_.erase(0, at);
  return shown;
}

}  // namespace digdag
