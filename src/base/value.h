#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/position.h"

namespace digdag {

class Object;
class Value;
using Array = std::vector<Value>;

enum class Kind : std::uint8_t { null, boolean, integer, big_integer, number, string, array, object };

/// A JSON value with ordered object keys: the data model of the language (spec/language.md 1).
///
/// Copies share their content and cost nothing (16 bytes, a reference count); a change through `mutable_…` copies first
/// where the content is shared. Different copies may be used by different threads; one Value object may not.
class Value {
 public:
  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool b) : kind_(Kind::boolean) { data_.boolean = b; }
  Value(int n) : Value(static_cast<std::int64_t>(n)) {}
  Value(std::int64_t n) : kind_(Kind::integer) { data_.integer = n; }
  Value(long long n) : Value(static_cast<std::int64_t>(n)) {}
  Value(double d) : kind_(Kind::number) { data_.number = d; }
  Value(std::string text);
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(Array array);
  Value(Object object);

  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();

  /// An integer outside of 64 bits; `digits` is its canonical decimal text (`-` and digits).
  static Value big_integer(std::string digits);
  /// The integer with this decimal text, of whatever size.
  static Value integer_of(std::string_view digits);
  static Value array() { return Value(Array{}); }
  static Value object();
  /// `{{"a", 1}, {"b", "x"}}` in the given order.
  static Value object(std::initializer_list<std::pair<std::string_view, Value>> members);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }
  bool is_boolean() const { return kind_ == Kind::boolean; }
  bool is_integer() const { return kind_ == Kind::integer; }
  /// Any number: integer, big integer or double.
  bool is_numeric() const { return kind_ == Kind::integer || kind_ == Kind::big_integer || kind_ == Kind::number; }
  bool is_string() const { return kind_ == Kind::string; }
  bool is_array() const { return kind_ == Kind::array; }
  bool is_object() const { return kind_ == Kind::object; }
  bool is_scalar() const { return !is_array() && !is_object(); }

  // Access to the content; the kind must be the right one (asserted).
  bool as_boolean() const;
  std::int64_t as_integer() const;
  double as_number() const;              ///< also of integers and big integers
  const std::string& as_string() const;  ///< also the digits of a big integer
  const Array& as_array() const;
  const Object& as_object() const;

  // The content for changing it; copied first where it is shared.
  Array& mutable_array();
  Object& mutable_object();

  /// The member of an object; nullptr where this is no object or has no such key.
  const Value* find(std::string_view key) const;

  /// Whether both share the same content (a cheap "certainly equal").
  bool same_as(const Value& other) const;

  /// Equal JSON: order of keys does not count, 1 and 1.0 differ.
  friend bool operator==(const Value& a, const Value& b);

 private:
  struct Shared;
  template <typename T>
  struct Holder;
  bool shared() const { return kind_ >= Kind::big_integer && kind_ != Kind::number; }
  void retain() const;
  void release();

  union Data {
    bool boolean;
    std::int64_t integer;
    double number;
    Shared* shared;
  } data_{.integer = 0};
  Kind kind_ = Kind::null;
};

/// The members of a JSON object in insertion order; a replaced key keeps its place. Look-up by key is constant time
/// (an index is made for objects of more than 16 members).
class Object {
 public:
  struct Member {
    std::string key;
    Value value;
    Position position;  ///< where the key was written, if it was
  };

  Object();
  /// As if each member were `set` in this order.
  explicit Object(std::vector<Member> members);
  Object(const Object& other);
  Object(Object&&) noexcept;
  Object& operator=(const Object& other);
  Object& operator=(Object&&) noexcept;
  ~Object();

  std::size_t size() const { return members_.size(); }
  bool empty() const { return members_.empty(); }
  auto begin() const { return members_.begin(); }
  auto end() const { return members_.end(); }
  const Member& operator[](std::size_t i) const { return members_[i]; }

  bool has(std::string_view key) const { return find_member(key) != nullptr; }
  const Value* find(std::string_view key) const;
  const Member* find_member(std::string_view key) const;
  /// The value for changing it; nullptr where there is no such key.
  Value* find_mutable(std::string_view key);

  /// Sets a key; an existing one keeps its place (and its position, unless a known one is given).
  void set(std::string_view key, Value value, Position position = {});
  /// Removes a key; false where it was not there.
  bool erase(std::string_view key);
  void reserve(std::size_t n) { members_.reserve(n); }

 private:
  struct Index;
  std::size_t index_of(std::string_view key) const;
  bool fill_index();
  std::vector<Member> members_;
  std::unique_ptr<Index> index_;
};

inline Value Value::object() { return Value(Object{}); }

/// Deep merge (spec/language.md 4.5): objects merge recursively, everything else of `other` replaces; existing keys keep
/// their place, new ones are appended.
void merge(Value& into, const Value& other);
/// Adds only the keys that are missing, recursively in objects; an existing null stays.
void merge_default(Value& into, const Value& other);

}  // namespace digdag
