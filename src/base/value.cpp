#include "base/value.h"

#include <bit>
#include <cassert>
#include <charconv>
#include <cstdlib>
#include <functional>

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
  Value copy(other);  // first: `other` may live inside of what is released
  return *this = std::move(copy);
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
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): the analyzer does not follow the count
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
}  // namespace

/// The places of the members by the hash of their key: open addressing, at most half full.
struct Object::Index {
  std::vector<std::uint32_t> slots;  ///< place + 1, or 0 where empty; a power of two of them

  /// The slot of `key`, or the empty one where it belongs.
  std::uint32_t& slot_of(std::string_view key, const std::vector<Member>& members) {
    const std::size_t mask = slots.size() - 1;
    std::size_t i = std::hash<std::string_view>{}(key)&mask;
    while (slots[i] != 0 && members[slots[i] - 1].key != key) i = (i + 1) & mask;
    return slots[i];
  }

  /// False where a key is there twice.
  bool fill(const std::vector<Member>& members) {
    slots.assign(std::bit_ceil(members.size() * 4), 0);
    for (std::size_t place = 0; place < members.size(); ++place) {
      std::uint32_t& slot = slot_of(members[place].key, members);
      if (slot != 0) return false;
      slot = static_cast<std::uint32_t>(place + 1);
    }
    return true;
  }
};

Object::Object() = default;
Object::Object(std::vector<Member> members) : members_(std::move(members)) {
  if (fill_index()) return;
  std::vector<Member> repeated;
  repeated.swap(members_);
  index_.reset();
  for (Member& member : repeated) set(member.key, std::move(member.value), member.position);
}
Object::Object(const Object& other) : members_(other.members_), index_(other.index_ ? std::make_unique<Index>(*other.index_) : nullptr) {}
Object& Object::operator=(const Object& other) {
  if (this != &other) *this = Object(other);
  return *this;
}
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

/// Makes the index anew where the object is large enough for one. False where a key is there twice.
bool Object::fill_index() {
  if (members_.size() > small_object) {
    if (!index_) index_ = std::make_unique<Index>();
    return index_->fill(members_);
  }
  index_.reset();
  for (std::size_t i = 1; i < members_.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (members_[i].key == members_[k].key) return false;
    }
  }
  return true;
}

std::size_t Object::index_of(std::string_view key) const {
  if (index_) return std::size_t{index_->slot_of(key, members_)} - 1;
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
  if (members_.size() <= small_object) return;
  if (index_ && members_.size() * 2 <= index_->slots.size()) {
    index_->slot_of(members_.back().key, members_) = static_cast<std::uint32_t>(members_.size());
  } else {
    fill_index();
  }
}

bool Object::erase(std::string_view key) {
  const std::size_t i = index_of(key);
  if (i == not_found) return false;
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(i));
  if (index_) fill_index();
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
