#include "command/wire.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <array>
#include <stdexcept>

namespace digdag::command {
namespace {

/// Two connected channels, and the raw socket behind the first.
struct Ends {
  Ends() {
    std::array<int, 2> pair{-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()), 0);
    raw = pair[0];
    owner.emplace(Fd(pair[0]));
    guard.emplace(Fd(pair[1]));
  }
  std::optional<Channel> owner, guard;
  int raw = -1;
};

Fd file_with(std::string_view text) {
  std::array<int, 2> pipe{-1, -1};
  EXPECT_EQ(pipe2(pipe.data(), O_CLOEXEC), 0);
  EXPECT_EQ(write(pipe[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  close(pipe[1]);
  return Fd(pipe[0]);
}

std::string content_of(const Fd& file) {
  std::array<char, 100> buffer;
  const ssize_t count = read(file.get(), buffer.data(), buffer.size());
  return std::string(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
}

TEST(Channel, CarriesMessagesInOrder) {
  Ends ends;
  ends.owner->send(Hello{1024});
  ends.owner->send(Stop{7, 10'000});
  ASSERT_TRUE(ends.guard->receive());
  EXPECT_EQ(std::get<Hello>(*ends.guard->take<ToGuard>()).open_files, 1024U);
  const auto stop = std::get<Stop>(*ends.guard->take<ToGuard>());
  EXPECT_EQ(stop.id, 7U);
  EXPECT_EQ(stop.grace_millis, 10'000);
  EXPECT_FALSE(ends.guard->take<ToGuard>());

  ends.guard->send(Ended{7, 9});
  ASSERT_TRUE(ends.owner->receive());
  EXPECT_EQ(std::get<Ended>(*ends.owner->take<FromGuard>()).status, 9);
}

TEST(Channel, CarriesAFileToHold) {
  Ends ends;
  ends.owner->send(Hold{3}, file_with("lock"));
  ASSERT_TRUE(ends.guard->receive());
  ASSERT_TRUE(std::holds_alternative<Hold>(*ends.guard->take<ToGuard>()));
  EXPECT_EQ(content_of(ends.guard->take_fd()), "lock");
}

TEST(Channel, CarriesFilesBesideMessagesThatAreLargerThanTheSocketTakes) {
  Ends ends;
  for (int i = 0; i < 3; ++i) {
    Start run{static_cast<CommandId>(i), "/bin/sh", {"sh", "", "x y"}, {std::string(1'000'000, 'x') + std::to_string(i)}, "/"};
    ends.owner->send(std::move(run), file_with("file " + std::to_string(i)));
  }
  EXPECT_TRUE(ends.owner->wants_to_send());
  for (int seen = 0; seen < 3;) {
    ends.owner->flush();
    ASSERT_TRUE(ends.guard->receive());
    while (const auto message = ends.guard->take<ToGuard>()) {
      const auto& run = std::get<Start>(*message);
      EXPECT_EQ(run.id, static_cast<CommandId>(seen));
      EXPECT_THAT(run.arguments, testing::ElementsAre("sh", "", "x y"));
      EXPECT_EQ(run.environment.at(0).size(), 1'000'001U);
      EXPECT_EQ(content_of(ends.guard->take_fd()), "file " + std::to_string(seen));
      ++seen;
    }
  }
  EXPECT_FALSE(ends.owner->wants_to_send());
  EXPECT_FALSE(ends.guard->take_fd());
}

TEST(Channel, ShowsThatTheOtherSideIsGoneAfterItsLastMessages) {
  Ends ends;
  ends.owner->send(Goodbye{});
  ends.owner.reset();
  bool alive = ends.guard->receive();
  EXPECT_TRUE(ends.guard->take<ToGuard>());
  if (alive) alive = ends.guard->receive();
  EXPECT_FALSE(alive);
  ends.guard->send(AllStopped{});
  EXPECT_FALSE(ends.guard->wants_to_send());
}

TEST(Channel, RefusesWhatIsNoMessage) {
  for (const std::string& bytes :
       {std::string("\x00\x00\x00\x00\x63", 5), std::string("\x01\x00\x00\x00\x00x", 6), std::string("\xff\xff\xff\xff\x00", 5)}) {
    Ends ends;
    ASSERT_EQ(write(ends.raw, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    EXPECT_THROW(
        {
          ends.guard->receive();
          ends.guard->take<ToGuard>();
        },
        std::runtime_error);
  }
}

}  // namespace
}  // namespace digdag::command
