#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

namespace digdag {

/// A queue of many lines that take turns: the next item is the first one of the line that has waited longest since its last turn. So who
/// puts 100,000 items into one line holds up nobody in another one.
template <typename Item>
class FairQueue {
 public:
  using Line = std::int64_t;

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  void push(Line line, Item item) {
    std::deque<Item>& items = lines_[line];
    if (items.empty()) turns_.push_back(line);
    items.push_back(std::move(item));
    ++size_;
  }
  /// Takes back what was pushed last into this line.
  void unpush(Line line) {
    const auto place = lines_.find(line);
    place->second.pop_back();
    --size_;
    if (place->second.empty()) end(place);
  }
  /// The queue must not be empty.
  std::pair<Line, Item> pop() {
    const Line line = turns_.front();
    turns_.pop_front();
    const auto place = lines_.find(line);
    Item item = std::move(place->second.front());
    place->second.pop_front();
    --size_;
    if (place->second.empty())
      lines_.erase(place);
    else
      turns_.push_back(line);
    return {line, std::move(item)};
  }
  /// The first item of a line that `matches`, taken out.
  template <typename Matches>
  std::optional<Item> remove(Line line, const Matches& matches) {
    const auto place = lines_.find(line);
    if (place == lines_.end()) return std::nullopt;
    const auto found = std::find_if(place->second.begin(), place->second.end(), matches);
    if (found == place->second.end()) return std::nullopt;
    std::optional<Item> item(std::move(*found));
    place->second.erase(found);
    --size_;
    if (place->second.empty()) end(place);
    return item;
  }
  /// A whole line, in its order.
  std::deque<Item> take_line(Line line) {
    const auto place = lines_.find(line);
    if (place == lines_.end()) return {};
    std::deque<Item> items = std::move(place->second);
    size_ -= items.size();
    end(place);
    return items;
  }

 private:
  using Lines = std::unordered_map<Line, std::deque<Item>>;
  void end(typename Lines::iterator place) {
    turns_.erase(std::find(turns_.begin(), turns_.end(), place->first));
    lines_.erase(place);
  }

  Lines lines_;             ///< none is empty
  std::deque<Line> turns_;  ///< each line once
  std::size_t size_ = 0;
};

}  // namespace digdag
