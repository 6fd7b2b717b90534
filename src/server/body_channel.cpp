#include "server/body_channel.h"

#include <utility>

namespace digdag::server {

class BodyChannel::Writer final : public BodyStream {
 public:
  explicit Writer(std::shared_ptr<BodyChannel> channel) : channel_(std::move(channel)) {}
  ~Writer() override { Writer::finish(); }

  bool write(std::string bytes) override {
    const std::lock_guard lock(channel_->mutex_);
    if (channel_->finished_) return false;
    channel_->unsent_ += bytes.size();
    channel_->pending_ += bytes;
    channel_->wake();
    return true;
  }
  void finish() override {
    const std::lock_guard lock(channel_->mutex_);
    if (!std::exchange(channel_->finished_, true)) channel_->wake();
  }
  std::size_t unsent() const override {
    const std::lock_guard lock(channel_->mutex_);
    return channel_->unsent_;
  }
  void when_ready(std::function<void()> call) override {
    {
      const std::lock_guard lock(channel_->mutex_);
      if (!channel_->finished_) {
        channel_->when_ready_ = std::move(call);
        return;
      }
    }
    call();
  }
  bool closed() const override {
    const std::lock_guard lock(channel_->mutex_);
    return channel_->finished_;
  }

 private:
  const std::shared_ptr<BodyChannel> channel_;
};

std::shared_ptr<BodyStream> BodyChannel::writer() { return std::make_shared<Writer>(shared_from_this()); }

awaitable<std::optional<std::string>> BodyChannel::next() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) co_return std::nullopt;
      if (finished_ || !pending_.empty()) co_return std::exchange(pending_, {});
    }
    asio::steady_timer sleeping(loop_, Clock::time_point::max());
    const struct Awake {
      ~Awake() { sleeping = nullptr; }
      asio::steady_timer*& sleeping;
    } awake{sleeping_};
    sleeping_ = &sleeping;
    error_code error;
    co_await sleeping.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

void BodyChannel::sent(std::size_t bytes) {
  std::function<void()> call;
  {
    const std::lock_guard lock(mutex_);
    unsent_ -= bytes;
    if (unsent_ == 0 && !finished_) call = when_ready_;
  }
  if (call) call();
}

void BodyChannel::close() { tell_writer_of(closed_); }

void BodyChannel::end() { tell_writer_of(finished_); }

void BodyChannel::tell_writer_of(bool& flag) {
  std::function<void()> call;
  bool told = false;
  {
    const std::lock_guard lock(mutex_);
    told = std::exchange(finished_, true);
    flag = true;
    call = std::exchange(when_ready_, nullptr);
  }
  if (sleeping_ != nullptr) sleeping_->cancel();
  if (call && !told) call();
}

void BodyChannel::wake() {
  if (closed_) return;
  asio::post(loop_, [self = shared_from_this()] {
    if (self->sleeping_ != nullptr) self->sleeping_->cancel();
  });
}

}  // namespace digdag::server
