#include "base/value.h"

#include <cassert>
#include <charconv>
#include <cstdlib>
#include <unordered_map>

namespace digdag {

struct Value::Shared {
  mutable std::atomic<std::uint32_t> references{1};
};

template <typename T>
struct Value::Holder : Value::Shared {
  explicit Holder(T c) : content(std::move(c)) {}
  T content;
};

Value::Value(std::string text) : kind_(Kind::string) { data_.shared = new Holder<std::string>(std::move(text)); }
Value::Value(Array array) : kind_(Kind::array) { data_.shared = new Holder<Array>(std::move(array)); }
Value::Value(Object object) : kind_(Kind::object) { data_.shared = new Holder<Object>(std::move(object)); }

Value::Value(const Value& other) : data_(other.data_), kind_(other.kind_) { retain(); }
Value::Value(Value&& other) noexcept : data_(other.data_), kind_(other.kind_) { other.kind_ = Kind::null; }
Value& Value::operator=(const Value& other) {
  if (this != &other) {
    other.retain();
    release();
    data_ = other.data_;
    kind_ = other.kind_;
  }
  return *this;
}
Value& Value::operator=(Value&& other) noexcept {
  if (this != &other) {
    // Taken out first: `other` may live inside of what is released.
    const Data data = other.data_;
    const Kind kind = other.kind_;
    other.kind_ = Kind::null;
    release();
    data_ = data;
    kind_ = kind;
  }
  return *this;
}
Value::~Value() { release(); }

void Value::retain() const {
  if (shared()) data_.shared->references.fetch_add(1, std::memory_order_relaxed);
}

void Value::release() {
  if (!shared() || data_.shared->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  switch (kind_) {
    case Kind::array: delete static_cast<Holder<Array>*>(data_.shared); break;
    case Kind::object: delete static_cast<Holder<Object>*>(data_.shared); break;
    default: delete static_cast<Holder<std::string>*>(data_.shared); break;
  }
}

Value Value::big_integer(std::string digits) {
  Value value(std::move(digits));
  value.kind_ = Kind::big_integer;
  return value;
}

Value Value::integer_of(std::string_view digits) {
  if (digits.starts_with('+')) digits.remove_prefix(1);
  const bool negative = digits.starts_with('-');
  if (negative) digits.remove_prefix(1);
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  std::string text(negative ? "-" : "");
  text += digits;
  std::int64_t n = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), n);
  if (result.ec == std::errc()) return Value(n);
  return big_integer(std::move(text));
}

Value Value::object(std::initializer_list<std::pair<std::string_view, Value>> members) {
  Object object;
  object.reserve(members.size());
  for (const auto& [key, value] : members) object.set(key, value);
  return Value(std::move(object));
}

bool Value::as_boolean() const {
  assert(is_boolean());
  return data_.boolean;
}

std::int64_t Value::as_integer() const {
  assert(is_integer());
  return data_.integer;
}

double Value::as_number() const {
  if (kind_ == Kind::integer) return static_cast<double>(data_.integer);
  if (kind_ == Kind::big_integer) return std::strtod(as_string().c_str(), nullptr);
  assert(kind_ == Kind::number);
  return data_.number;
}

const std::string& Value::as_string() const {
  assert(kind_ == Kind::string || kind_ == Kind::big_integer);
  return static_cast<const Holder<std::string>*>(data_.shared)->content;
}

const Array& Value::as_array() const {
  assert(is_array());
  return static_cast<const Holder<Array>*>(data_.shared)->content;
}

const Object& Value::as_object() const {
  assert(is_object());
  return static_cast<const Holder<Object>*>(data_.shared)->content;
}

Array& Value::mutable_array() {
  assert(is_array());
  if (data_.shared->references.load(std::memory_order_acquire) != 1) *this = Value(Array(as_array()));
  return static_cast<Holder<Array>*>(data_.shared)->content;
}

Object& Value::mutable_object() {
  assert(is_object());
  if (data_.shared->references.load(std::memory_order_acquire) != 1) *this = Value(Object(as_object()));
  return static_cast<Holder<Object>*>(data_.shared)->content;
}

const Value* Value::find(std::string_view key) const { return is_object() ? as_object().find(key) : nullptr; }

bool Value::same_as(const Value& other) const {
  if (kind_ != other.kind_) return false;
  return shared() ? data_.shared == other.data_.shared : *this == other;
}

bool operator==(const Value& a, const Value& b) {
  if (a.kind_ != b.kind_) return false;
  if (a.shared() && a.data_.shared == b.data_.shared) return true;
  switch (a.kind_) {
    case Kind::null: return true;
    case Kind::boolean: return a.data_.boolean == b.data_.boolean;
    case Kind::integer: return a.data_.integer == b.data_.integer;
    case Kind::number: return a.data_.number == b.data_.number;
    case Kind::string:
    case Kind::big_integer: return a.as_string() == b.as_string();
    case Kind::array: return a.as_array() == b.as_array();
    case Kind::object: {
      const Object& x = a.as_object();
      const Object& y = b.as_object();
      if (x.size() != y.size()) return false;
      for (const auto& member : x) {
        const Value* other = y.find(member.key);
        if (!other || !(member.value == *other)) return false;
      }
      return true;
    }
  }
  return false;
}

namespace {
constexpr std::size_t small_object = 16;
constexpr std::size_t not_found = static_cast<std::size_t>(-1);

struct KeyHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view key) const { return std::hash<std::string_view>{}(key); }
};
}  // namespace

struct Object::Index {
  std::unordered_map<std::string, std::size_t, KeyHash, std::equal_to<>> places;
};

Object::Object(const Object& other) : members_(other.members_), index_(other.index_ ? std::make_unique<Index>(*other.index_) : nullptr) {}
Object& Object::operator=(const Object& other) {
  if (this != &other) *this = Object(other);
  return *this;
}
Object::Object() = default;
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

std::size_t Object::index_of(std::string_view key) const {
  if (index_) {
    const auto found = index_->places.find(key);
    return found == index_->places.end() ? not_found : found->second;
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].key == key) return i;
  }
  return not_found;
}

const Object::Member* Object::find_member(std::string_view key) const {
  const std::size_t i = index_of(key);
  return i == not_found ? nullptr : &members_[i];
}

const Value* Object::find(std::string_view key) const {
  const std::size_t i = index_of(key);
  return i == not_found ? nullptr : &members_[i].value;
}

Value* Object::find_mutable(std::string_view key) {
  const std::size_t i = index_of(key);
  return i == not_found ? nullptr : &members_[i].value;
}

void Object::set(std::string_view key, Value value, Position position) {
  const std::size_t i = index_of(key);
  if (i != not_found) {
    members_[i].value = std::move(value);
    if (position.known()) members_[i].position = position;
    return;
  }
  members_.push_back(Member{std::string(key), std::move(value), position});
  if (index_) {
    index_->places.emplace(key, members_.size() - 1);
  } else if (members_.size() > small_object) {
    index_ = std::make_unique<Index>();
    for (std::size_t place = 0; place < members_.size(); ++place) index_->places.emplace(members_[place].key, place);
  }
}

bool Object::erase(std::string_view key) {
  const std::size_t i = index_of(key);
  if (i == not_found) return false;
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(i));
  if (index_) {
    index_->places.erase(index_->places.find(key));
    for (auto& [name, place] : index_->places) {
      if (place > i) --place;
    }
  }
  return true;
}

void merge(Value& into, const Value& other) {
  if (!into.is_object() || !other.is_object()) {
    into = other;
    return;
  }
  if (other.as_object().empty()) return;
  if (into.as_object().empty()) {
    into = other;
    return;
  }
  Object& target = into.mutable_object();
  for (const auto& member : other.as_object()) {
    Value* existing = target.find_mutable(member.key);
    if (existing && existing->is_object() && member.value.is_object()) {
      merge(*existing, member.value);
    } else {
      target.set(member.key, member.value, member.position);
    }
  }
}

void merge_default(Value& into, const Value& other) {
  if (!into.is_object() || !other.is_object()) return;
  Object& target = into.mutable_object();
  for (const auto& member : other.as_object()) {
    Value* existing = target.find_mutable(member.key);
    if (!existing) {
      target.set(member.key, member.value, member.position);
    } else if (existing->is_object() && member.value.is_object()) {
      merge_default(*existing, member.value);
    }
  }
}

}  // namespace digdag
